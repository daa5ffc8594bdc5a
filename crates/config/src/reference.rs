//! The manual's page of keys, from their definition.

use std::fmt::Write as _;

use crate::keys::{Key, Kind, Preset, Section, sections};
use crate::limits;
use crate::units::{duration_text, grouped, size_text};

/// `docs/configuration.md`: every key with its meaning, unit, default and limits.
pub fn reference_markdown() -> String {
    let mut page = PREFACE.to_owned();
    for section in sections() {
        write_section(&mut page, section);
    }
    page.push_str(&totals());
    page
}

const PREFACE: &str = "# Configuration

<!-- Generated from crates/config/src/keys; run the tests of evenkeel-config with UPDATE_GOLDEN=1 to rewrite. -->

A configuration is one [TOML](https://toml.io) file, and the files it includes. `evenkeel check FILE` reports every
problem with its place and advice; a running process adopts a new configuration whole or not at all. Unknown keys are
errors. Why each default is what it is stands in [defaults.md](defaults.md); complete files stand in `examples/`.

How values are written:

* **Durations** are strings with a unit: `\"500ms\"`, `\"2s\"`, `\"5m\"`, `\"1h\"`, `\"1d\"`, or a sum such as `\"1h30m\"`.
* **Sizes** are bytes, or strings with a unit: `16384`, `\"16KiB\"`, `\"1MiB\"`, `\"1GiB\"`.
* **Whole numbers** may be grouped: `50_000`.
* **Addresses** are `HOST:PORT`, `[IPV6]:PORT` or `unix:/absolute/path`. To listen, `:PORT` is every address of both
  families.
* **Networks** are `10.0.0.0/8` or `2001:db8::/32`; an address alone is a network of one.
* **Names** of listeners and pools have 1 to 64 letters, digits, `-`, `_` and `.`; a name with a dot is quoted in its
  header: `[pool.\"a.b\"]`.
";

fn write_section(page: &mut String, section: &Section) {
    let heading = match section.path {
        "" => "The top of the file".to_owned(),
        path => format!("`{}`", header(path)),
    };
    let _ = write!(page, "\n## {heading}\n\n{}\n", section.doc);
    let own = || section.keys.iter().filter(|key| !key.doc.is_empty() && !matches!(key.kind, Kind::Later));
    if own().next().is_some() {
        page.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
        for key in own() {
            let meaning = key.doc.replace('|', "\\|");
            let _ =
                writeln!(page, "| `{}` | {} | {} | {meaning} |", key.name, value(&key.kind), default(key));
        }
    }
    let later: Vec<String> = later(section);
    if !later.is_empty() {
        let _ = write!(page, "\nNot supported by this version, and refused: {}.\n", later.join(", "));
    }
}

/// `listener.NAME.route` is written with double brackets, tables within a line with braces.
fn header(path: &str) -> String {
    match path {
        "listener.NAME.route" => "[[listener.NAME.route]]".into(),
        "pool.NAME.targets" => "targets = [{ … }] in [pool.NAME]".into(),
        "admin.token" => "token = { … } in [admin]".into(),
        "pool.NAME.health.expect" => "expect = { … } in [pool.NAME.health]".into(),
        path => match path.strip_prefix("listener.NAME.route.") {
            Some(inline) => format!("{inline} = {{ … }} in [[listener.NAME.route]]"),
            None => format!("[{path}]"),
        },
    }
}

fn later(section: &Section) -> Vec<String> {
    let keys = section.keys.iter().flat_map(|key| match &key.kind {
        Kind::Later => vec![format!("`{}`", key.name)],
        Kind::Word { later, .. } => later.iter().map(|word| format!("`{} = \"{word}\"`", key.name)).collect(),
        _ if key.name == "source" => vec!["`source = \"client\"`".to_owned()],
        _ => Vec::new(),
    });
    keys.collect()
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Flag => "`true` or `false`".into(),
        Kind::Duration { min, max, zero } => {
            let zero = zero.map_or(String::new(), |meaning| format!(", or `\"0\"`: {meaning}"));
            format!("duration, {} to {}{zero}", duration_text(*min), duration_text(*max))
        }
        Kind::Count { min, max } => format!("{} to {}", grouped(*min), grouped(*max)),
        Kind::CountOr { word, min, max } => {
            format!("`\"{word}\"`, or {} to {}", grouped(*min), grouped(*max))
        }
        Kind::Size { min, max } => format!("size, {} to {}", size_text(*min), size_text(*max)),
        Kind::SizeOr { word, min, max } => {
            format!("`\"{word}\"`, or a size, {} to {}", size_text(*min), size_text(*max))
        }
        Kind::Text { what, max } => format!("{what}, at most {}", bytes(*max)),
        Kind::Form { what } => (*what).into(),
        Kind::Word { words, .. } => {
            words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
        }
        Kind::List { of, max, alone } => {
            let list = format!("a list of at most {}", grouped(u64::try_from(*max).unwrap_or(u64::MAX)));
            if *alone { format!("{}; or {list}", value(of)) } else { format!("{list}: {}", value(of)) }
        }
        Kind::FormOr { what, .. } => format!("{what}, or a table"),
        Kind::Map => "a table of names and texts".into(),
        Kind::Switch(_) => "a table, or `false`".into(),
        Kind::Table(_) | Kind::Tables(_) | Kind::Named(_) | Kind::Later => "a table".into(),
    }
}

fn default(key: &Key) -> String {
    match key.preset {
        Preset::Required => "required".into(),
        Preset::Absent => "–".into(),
        Preset::Flag(flag) => format!("`{flag}`"),
        Preset::Count(count) => format!("`{}`", grouped(count)),
        Preset::Text(text) => format!("`\"{text}\"`"),
        Preset::Texts(texts) => {
            format!("`[{}]`", texts.iter().map(|t| format!("\"{t}\"")).collect::<Vec<_>>().join(", "))
        }
    }
}

fn bytes(count: u64) -> String {
    if count < 1024 { format!("{count} bytes") } else { size_text(count) }
}

fn totals() -> String {
    let count = |limit: usize| grouped(u64::try_from(limit).unwrap_or(u64::MAX));
    let rows = [
        ("bytes of one file", size_text(u64::try_from(limits::MAX_FILE_BYTES).unwrap_or(u64::MAX))),
        ("included files", count(limits::MAX_INCLUDED_FILES)),
        ("listeners", count(limits::MAX_LISTENERS)),
        ("pools", count(limits::MAX_POOLS)),
        ("targets of one pool", count(limits::MAX_TARGETS)),
        ("routes over all listeners", count(limits::MAX_ROUTES)),
    ];
    let mut text = "\n## Totals\n\n| what | at most |\n|---|---|\n".to_owned();
    for (what, most) in rows {
        let _ = writeln!(text, "| {what} | {most} |");
    }
    text
}
