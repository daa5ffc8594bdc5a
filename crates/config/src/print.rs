//! The TOML of a checked configuration.

use std::fmt::Write as _;

use crate::checked::{Config, Pool};
use crate::facts::{self, Block, Value};

/// TOML that [`load`](crate::load) reads back as the same configuration; keys that have their defaults are
/// left out. Included files appear merged; a secret appears as the place it is kept in, never as its value.
pub fn to_toml(config: &Config) -> String {
    let mut out = String::new();
    for block in facts::top(config) {
        write_block(&mut out, &block, "");
    }
    for listener in &config.listeners {
        for block in facts::listener(listener) {
            write_block(&mut out, &block, "");
        }
        for route in &listener.routes {
            write_block(&mut out, &facts::route(listener.name.as_str(), route), "");
        }
    }
    for pool in &config.pools {
        let targets = targets_line(pool);
        for (index, block) in facts::pool(pool).iter().enumerate() {
            write_block(&mut out, block, if index == 0 { &targets } else { "" });
        }
    }
    out
}

fn write_block(out: &mut String, block: &Block, more: &str) {
    let written: Vec<_> = block.facts.iter().filter(|fact| !fact.is_preset).collect();
    if written.is_empty() && !block.is_telling {
        return;
    }
    if !block.path.is_empty() {
        let path: Vec<String> = block.path.iter().map(|part| key_text(part)).collect();
        let (open, close) = if block.is_entry { ("[[", "]]") } else { ("[", "]") };
        let gap = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{gap}{open}{}{close}", path.join("."));
    }
    for fact in written {
        let _ = writeln!(out, "{} = {}", fact.key, value_text(&fact.value));
    }
    out.push_str(more);
}

/// Few plain addresses on one line, others on one line each.
fn targets_line(pool: &Pool) -> String {
    const SHORT_LIST: usize = 4;
    let values: Vec<Value> = pool.targets.iter().map(facts::target).collect();
    if values.len() <= SHORT_LIST && values.iter().all(|value| matches!(value, Value::Text(_))) {
        return format!("targets = {}\n", value_text(&Value::List(values)));
    }
    let lines: String = values.iter().map(|value| format!("    {},\n", value_text(value))).collect();
    format!("targets = [\n{lines}]\n")
}

/// A value as TOML.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::Text(text) => toml_edit::Value::from(text.as_str()).to_string(),
        Value::Plain(text) => text.clone(),
        Value::List(list) => format!("[{}]", list.iter().map(value_text).collect::<Vec<_>>().join(", ")),
        Value::Table(pairs) if pairs.is_empty() => "{}".into(),
        Value::Table(pairs) => {
            let pair = |(key, value): &(String, Value)| format!("{} = {}", key_text(key), value_text(value));
            format!("{{ {} }}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

fn key_text(key: &str) -> String {
    toml_edit::Key::new(key).display_repr().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{NoSource, load};

    proptest! {
        #[test]
        fn any_text_prints_as_toml_that_reads_the_same(
            body in "\\PC{0,20}|[\"'\\\\\n\t\u{0}-\u{1f}\u{7f}#={}]{0,12}",
            query in "[a-z\"'.= é]{1,8}",
            pid_file in "[a-z/ \"'\\\\é]{1,12}",
        ) {
            let quoted = |text: &str| value_text(&Value::Text(text.to_owned()));
            let text = format!(
                "pid_file = {}\n[listener.\"a.b\"]\nbind = \":80\"\nprotocol = \"http\"\n\
                 [[listener.\"a.b\".route]]\nwhen = {{ query = {{ {} = {} }} }}\n\
                 respond = {{ status = 200, body = {} }}\n",
                quoted(&pid_file), key_text(&query), quoted(&body), quoted(&body),
            );
            let config = load(&text, "x.toml", &NoSource).unwrap_or_else(|problems| panic!("{problems}"));
            let printed = to_toml(&config);
            let again = load(&printed, "x.toml", &NoSource);
            prop_assert_eq!(again.as_ref(), Ok(&config), "{}", printed);
        }
    }
}
