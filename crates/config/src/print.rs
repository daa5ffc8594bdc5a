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
    let is_bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_bare { key.to_owned() } else { toml_edit::Value::from(key).to_string() }
}
