//! The one definition of every key. It drives the reader, its advice, the JSON schema and the manual.

mod listener;
mod pool;
mod top;

use std::time::Duration;

use evenkeel_balance::Algorithm;

pub(crate) use listener::{HTTP, LISTENER, REDIRECT, RESPOND, ROUTE, TIMEOUTS, WHEN};
pub(crate) use pool::{AFFINITY, EXPECT, HEALTH, LIMITS, PASSIVE, POOL, RETRY, TARGET};
pub(crate) use top::{ACCESS_LOG, ADMIN, RESOLVER, SECRET, TOP, WORKERS};

/// A table of the configuration.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its place, as `pool.NAME.health`; empty for the top.
    pub(crate) path: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) preset: Preset,
    pub(crate) doc: &'static str,
}

/// What a key holds when it is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preset {
    /// It must be written.
    Required,
    /// Nothing; the doc says what that means.
    Absent,
    Flag(bool),
    Count(u64),
    /// A string, also for durations and words.
    Text(&'static str),
    Texts(&'static [&'static str]),
}

/// What may be written for a key.
#[derive(Debug)]
pub(crate) enum Kind {
    Flag,
    /// `zero`: what "0" means, where it is allowed.
    Duration {
        min: Duration,
        max: Duration,
        zero: Option<&'static str>,
    },
    Count {
        min: u64,
        max: u64,
    },
    /// A number or this word.
    CountOr {
        word: &'static str,
        min: u64,
        max: u64,
    },
    /// Bytes.
    Size {
        min: u64,
        max: u64,
    },
    /// Bytes or this word.
    SizeOr {
        word: &'static str,
        min: u64,
        max: u64,
    },
    /// Any text of at most so many bytes; `what` is a phrase such as "a file name".
    Text {
        what: &'static str,
        max: u64,
    },
    /// Text with a grammar of its own; `what` is a phrase with an example.
    Form {
        what: &'static str,
    },
    /// One of `words`; `later` are known but not supported.
    Word {
        words: &'static [&'static str],
        later: &'static [&'static str],
    },
    /// A list of at most `max`; `alone` when one value needs no brackets.
    List {
        of: &'static Kind,
        max: usize,
        alone: bool,
    },
    /// Text, or a table.
    FormOr {
        what: &'static str,
        table: &'static Section,
    },
    /// Any names, with text.
    Map,
    Table(&'static Section),
    /// A table, or `false`.
    Switch(&'static Section),
    /// Tables in order, `[[…]]`.
    Tables(&'static Section),
    /// Tables by name, `[….NAME]`.
    Named(&'static Section),
    /// Part of the contract, but of no version yet.
    Later,
}

impl Section {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Key {
    pub(crate) const fn new(name: &'static str, kind: Kind, preset: Preset, doc: &'static str) -> Self {
        Self { name, kind, preset, doc }
    }

    /// A key that is refused with `doc` as advice.
    pub(crate) const fn later(name: &'static str, doc: &'static str) -> Self {
        Self { name, kind: Kind::Later, preset: Preset::Absent, doc }
    }
}

impl Kind {
    /// A phrase that ends "must be …".
    pub(crate) fn expects(&self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Duration { .. } => "a duration such as \"2s\"".into(),
            Self::Count { .. } => "a whole number".into(),
            Self::CountOr { word, .. } => format!("a whole number or \"{word}\""),
            Self::Size { .. } => "a size such as \"16KiB\"".into(),
            Self::SizeOr { word, .. } => format!("a size such as \"16KiB\", or \"{word}\""),
            Self::Text { what, .. } | Self::Form { what } => (*what).into(),
            Self::Word { words, .. } => format!("one of {}", quoted(words)),
            Self::List { of, alone: true, .. } => format!("{}, or a list of them", of.expects()),
            Self::List { of, .. } => format!("a list; each entry is {}", of.expects()),
            Self::FormOr { what, .. } => format!("{what}, or a table"),
            Self::Map => "a table of names and texts".into(),
            Self::Table(_) | Self::Named(_) => "a table".into(),
            Self::Switch(_) => "a table, or false".into(),
            Self::Tables(section) => format!("a list of tables, [[{}]]", section.path),
            Self::Later => "left out".into(),
        }
    }

    /// The table within, if any.
    pub(crate) fn section(&self) -> Option<&'static Section> {
        match self {
            Self::Table(s) | Self::Switch(s) | Self::Tables(s) | Self::Named(s) => Some(s),
            Self::FormOr { table, .. } => Some(table),
            Self::List { of, .. } => of.section(),
            _ => None,
        }
    }
}

/// `"a", "b" or "c"`.
pub(crate) fn quoted(words: &[&str]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            text.push_str(if index + 1 == words.len() { " or " } else { ", " });
        }
        text.push('"');
        text.push_str(word);
        text.push('"');
    }
    text
}

/// Every section, parents before children, as the manual lists them.
pub(crate) fn sections() -> Vec<&'static Section> {
    let mut all = vec![&TOP];
    let mut next = 0;
    while let Some(section) = all.get(next) {
        let children: Vec<_> = section.keys.iter().filter_map(|key| key.kind.section()).collect();
        // Depth first: a table's own tables follow it.
        all.splice(next + 1..next + 1, children);
        next += 1;
    }
    all
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The values of `algorithm`.
pub(crate) static ALGORITHMS: [&str; Algorithm::ALL.len()] = {
    let mut words = [""; Algorithm::ALL.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = Algorithm::ALL[index].as_str();
        index += 1;
    }
    words
};

/// The algorithm that a word of [`ALGORITHMS`] names.
pub(crate) fn algorithm(word: &str) -> Algorithm {
    word.parse().unwrap_or(Algorithm::RoundRobin)
}
