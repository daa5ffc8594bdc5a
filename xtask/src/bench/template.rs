//! Configuration templates of the peers: `{{name}}`, and `@if FLAG` or `@if !FLAG` up to `@end`.

use crate::shell::Outcome;

/// Fills a template in.
///
/// # Errors
/// When `@if` and `@end` do not match, or a name has no value.
pub(super) fn fill(template: &str, flags: &[&str], values: &[(&str, String)]) -> Outcome<String> {
    let mut text = String::new();
    let mut conditions: Vec<bool> = Vec::new();
    for line in template.lines() {
        if let Some(condition) = line.strip_prefix("@if ") {
            let (flag, wanted) = condition.strip_prefix('!').map_or((condition, true), |flag| (flag, false));
            conditions.push(flags.contains(&flag) == wanted);
        } else if line == "@end" {
            conditions.pop().ok_or("a template has an @end without its @if")?;
        } else if conditions.iter().all(|holds| *holds) {
            text.push_str(line);
            text.push('\n');
        }
    }
    if !conditions.is_empty() {
        return Err("a template has an @if without its @end".to_owned());
    }
    for (name, value) in values {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    match text.split_once("{{") {
        Some((_, rest)) => Err(format!(
            "a template names {}, which has no value",
            rest.split('}').next().unwrap_or_default()
        )),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_nest() {
        let template = "a {{x}}\n@if p\nb\n@if !q\nc {{x}}\n@end\n@end\n@if !p\nd\n@end\n";
        let filled = |flags: &[&str]| fill(template, flags, &[("x", "1".to_owned())]).unwrap();
        assert_eq!(filled(&[]), "a 1\nd\n");
        assert_eq!(filled(&["p"]), "a 1\nb\nc 1\n");
        assert_eq!(filled(&["p", "q"]), "a 1\nb\n");
    }

    #[test]
    fn mistakes_are_named() {
        assert!(fill("@end", &[], &[]).unwrap_err().contains("@end"));
        assert!(fill("@if a", &[], &[]).unwrap_err().contains("@if"));
        assert!(fill("{{port}}", &[], &[]).unwrap_err().contains("port"));
    }
}
