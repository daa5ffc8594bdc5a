//! Configuration templates of the peers: `{{name}}`, `@if FLAG` or `@if !FLAG` up to `@end`, and `@each LIST` up
//! to `@end`, within which `{{LIST}}` is one of the list and `{{LIST.n}}` its number, from 0.

use crate::shell::Outcome;

/// What a template is filled with.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) flags: Vec<&'static str>,
    pub(super) words: Vec<(&'static str, String)>,
    pub(super) lists: Vec<(&'static str, Vec<String>)>,
}

/// Fills a template in.
///
/// # Errors
/// When `@if`, `@each` and `@end` do not match, or a name has no value.
pub(super) fn fill(template: &str, values: &Values) -> Outcome<String> {
    let mut lines = template.lines();
    let nodes = parse(&mut lines, 0)?;
    let mut text = String::new();
    render(&nodes, values, None, &mut text)?;
    for (name, value) in &values.words {
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

#[derive(Debug)]
enum Node<'a> {
    Line(&'a str),
    If { flag: &'a str, wanted: bool, inner: Vec<Node<'a>> },
    Each { list: &'a str, inner: Vec<Node<'a>> },
}

fn parse<'a>(lines: &mut std::str::Lines<'a>, depth: u32) -> Outcome<Vec<Node<'a>>> {
    let mut nodes = Vec::new();
    while let Some(line) = lines.next() {
        if line == "@end" {
            return if depth > 0 {
                Ok(nodes)
            } else {
                Err("a template has an @end without its @if".to_owned())
            };
        }
        nodes.push(if let Some(condition) = line.strip_prefix("@if ") {
            let (flag, wanted) = condition.strip_prefix('!').map_or((condition, true), |flag| (flag, false));
            Node::If { flag, wanted, inner: parse(lines, depth + 1)? }
        } else if let Some(list) = line.strip_prefix("@each ") {
            Node::Each { list, inner: parse(lines, depth + 1)? }
        } else {
            Node::Line(line)
        });
    }
    if depth == 0 { Ok(nodes) } else { Err("a template has an @if or @each without its @end".to_owned()) }
}

/// One of a list, and its number.
#[derive(Debug, Clone, Copy)]
struct Item<'a> {
    list: &'a str,
    value: &'a str,
    number: usize,
}

fn render(nodes: &[Node<'_>], values: &Values, item: Option<Item<'_>>, text: &mut String) -> Outcome {
    for node in nodes {
        match node {
            Node::Line(line) => {
                match item {
                    Some(Item { list, value, number }) => text.push_str(
                        &line
                            .replace(&format!("{{{{{list}}}}}"), value)
                            .replace(&format!("{{{{{list}.n}}}}"), &number.to_string()),
                    ),
                    None => text.push_str(line),
                }
                text.push('\n');
            }
            Node::If { flag, wanted, inner } => {
                if values.flags.contains(flag) == *wanted {
                    render(inner, values, item, text)?;
                }
            }
            Node::Each { list, inner } => {
                let known = values.lists.iter().find(|(name, _)| name == list);
                let (_, all) =
                    known.ok_or_else(|| format!("a template names the list {list}, which is not there"))?;
                for (number, value) in all.iter().enumerate() {
                    render(inner, values, Some(Item { list, value, number }), text)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, flags: &[&'static str]) -> Outcome<String> {
        let lists = vec![("target", vec!["a".to_owned(), "b".to_owned()])];
        fill(template, &Values { flags: flags.to_vec(), words: vec![("x", "1".to_owned())], lists })
    }

    #[test]
    fn conditions_nest() {
        let template = "a {{x}}\n@if p\nb\n@if !q\nc {{x}}\n@end\n@end\n@if !p\nd\n@end\n";
        assert_eq!(filled(template, &[]).unwrap(), "a 1\nd\n");
        assert_eq!(filled(template, &["p"]).unwrap(), "a 1\nb\nc 1\n");
        assert_eq!(filled(template, &["p", "q"]).unwrap(), "a 1\nb\n");
    }

    #[test]
    fn lists_repeat_what_stands_within() {
        let template = "@each target\n{{x}} s{{target.n}} = {{target}}\n@if p\n!\n@end\n@end\nend";
        assert_eq!(filled(template, &[]).unwrap(), "1 s0 = a\n1 s1 = b\nend\n");
        assert_eq!(filled(template, &["p"]).unwrap(), "1 s0 = a\n!\n1 s1 = b\n!\nend\n");
    }

    #[test]
    fn mistakes_are_named() {
        for (template, message) in
            [("@end", "@end"), ("@if a", "@if"), ("{{port}}", "port"), ("@each route\n@end", "route")]
        {
            assert!(filled(template, &[]).unwrap_err().contains(message), "{template}");
        }
    }
}
