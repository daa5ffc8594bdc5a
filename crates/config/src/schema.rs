//! The JSON schema of a configuration, from the definition of its keys.

use serde_json::{Map, Value, json};

use crate::keys::{Key, Kind, Preset, Section, TOP};

/// The JSON schema (draft 2020-12) of the file, for editors that complete and check TOML by one. It is wider than
/// [`load`](crate::load) where a schema cannot say what is meant, such as names that must exist.
pub fn json_schema() -> Value {
    let mut schema = section(&TOP);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        fields.insert("title".into(), json!("Evenkeel configuration"));
    }
    schema
}

fn section(section: &Section) -> Value {
    let keys = || section.keys.iter().filter(|key| !matches!(key.kind, Kind::Later));
    let properties: Map<String, Value> = keys().map(|key| (key.name.to_owned(), property(key))).collect();
    // An included file may have no listener: only the whole must.
    let needed = keys().filter(|key| key.preset == Preset::Required && !matches!(key.kind, Kind::Named(_)));
    json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": needed.map(|key| key.name).collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = kind(&key.kind);
    if let Some(fields) = schema.as_object_mut() {
        if !key.doc.is_empty() {
            fields.insert("description".into(), json!(key.doc));
        }
        let default = match key.preset {
            Preset::Required | Preset::Absent => None,
            Preset::Flag(flag) => Some(json!(flag)),
            Preset::Count(count) => Some(json!(count)),
            Preset::Text(text) => Some(json!(text)),
            Preset::Texts(texts) => Some(json!(texts)),
        };
        if let Some(default) = default {
            fields.insert("default".into(), default);
        }
    }
    schema
}

fn kind(of: &Kind) -> Value {
    let integer = |min: u64, max: u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    let size = |min, max| json!({ "anyOf": [integer(min, max), { "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$" }] });
    match of {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Duration { .. } => json!({ "type": "string", "pattern": "^(0|([0-9]+(ms|s|m|h|d))+)$" }),
        Kind::Count { min, max } => integer(*min, *max),
        Kind::CountOr { word, min, max } => json!({ "anyOf": [integer(*min, *max), { "const": word }] }),
        Kind::Size { min, max } => size(*min, *max),
        Kind::SizeOr { word, min, max } => json!({ "anyOf": [size(*min, *max), { "const": word }] }),
        Kind::Text { max, .. } => json!({ "type": "string", "maxLength": max }),
        Kind::Form { .. } => json!({ "type": "string" }),
        Kind::Word { words, .. } => json!({ "enum": words }),
        Kind::List { of, max, alone } => {
            let list = json!({ "type": "array", "items": kind(of), "maxItems": max });
            if *alone { json!({ "anyOf": [kind(of), list] }) } else { list }
        }
        Kind::FormOr { table, .. } => json!({ "anyOf": [{ "type": "string" }, section(table)] }),
        Kind::Map => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Table(inner) => section(inner),
        Kind::Switch(inner) => json!({ "anyOf": [{ "type": "boolean" }, section(inner)] }),
        Kind::Tables(inner) => json!({ "type": "array", "items": section(inner) }),
        Kind::Named(inner) => json!({ "type": "object", "additionalProperties": section(inner) }),
        Kind::Later => json!(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::sections;

    #[test]
    fn every_key_is_in_the_schema() {
        let schema = json_schema();
        assert_eq!(schema["properties"]["grace"]["default"], "30s");
        let text = schema.to_string();
        for key in sections().iter().flat_map(|section| section.keys) {
            let is_there = text.contains(&format!("\"{}\":{{", key.name));
            assert!(is_there || matches!(key.kind, Kind::Later), "{}", key.name);
        }
    }
}
