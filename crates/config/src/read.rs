//! Reads typed values out of a spanned TOML tree by the definitions in `keys`, collecting every problem.

mod item;

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::keys::{Key, Kind, Preset, Section};
use crate::limits::MAX_PROBLEMS;
use crate::problem::{Finding, Place};
use crate::source::Source;
use crate::suggest::nearest;
use crate::units;

pub(crate) use item::Item;

type Spanned<T> = toml::Spanned<T>;

/// What every reader shares: where problems go, and the outside world.
pub(crate) struct Cx<'s> {
    pub(crate) source: &'s dyn Source,
    /// File names, by [`Place::file`], for messages that name a second place.
    pub(crate) names: RefCell<Vec<String>>,
    /// Some file could not be read: names that are missing here may stand there.
    pub(crate) is_incomplete: Cell<bool>,
    findings: RefCell<Vec<Finding>>,
    omitted: Cell<usize>,
}

impl<'s> Cx<'s> {
    pub(crate) fn new(source: &'s dyn Source) -> Self {
        Self {
            source,
            names: RefCell::default(),
            is_incomplete: Cell::new(false),
            findings: RefCell::default(),
            omitted: Cell::new(0),
        }
    }

    pub(crate) fn problem(&self, place: &Place, message: impl Into<String>, advice: Option<String>) {
        let (message, is_secret) = (message.into(), false);
        self.add(Finding { place: place.clone(), message, advice, is_secret });
    }

    fn add(&self, mut finding: Finding) {
        finding.message = shortened(finding.message);
        finding.advice = finding.advice.map(shortened);
        let mut findings = self.findings.borrow_mut();
        if findings.len() >= MAX_PROBLEMS {
            self.omitted.set(self.omitted.get().saturating_add(1));
            return;
        }
        findings.push(finding);
    }

    /// Advice costs time; beyond the limit nobody sees it.
    pub(crate) fn is_full(&self) -> bool {
        self.findings.borrow().len() >= MAX_PROBLEMS
    }

    pub(crate) fn has_problems(&self) -> bool {
        self.count() > 0
    }

    /// How many problems there are so far.
    pub(crate) fn count(&self) -> usize {
        self.findings.borrow().len().saturating_add(self.omitted.get())
    }

    pub(crate) fn into_findings(self) -> (Vec<Finding>, usize) {
        (self.findings.into_inner(), self.omitted.get())
    }
}

/// The values of one table, with the presets of its section for those that are not written.
pub(crate) struct Reader<'a> {
    pub(crate) cx: &'a Cx<'a>,
    pub(crate) section: &'static Section,
    /// `None`: the table is not written, every key has its preset.
    table: Option<&'a DeTable<'a>>,
    /// Where a missing key is complained about.
    pub(crate) place: Place,
    /// As in `[pool.app.health]`, without brackets.
    title: String,
}

impl<'a> Reader<'a> {
    /// A table; keys that the section does not have are reported here.
    pub(crate) fn open(
        cx: &'a Cx<'a>,
        section: &'static Section,
        table: &'a DeTable<'a>,
        place: Place,
        title: String,
    ) -> Self {
        let reader = Self::unchecked(cx, section, table, place, title);
        let mut keys: Vec<_> = table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        for key in keys {
            match section.key(key.get_ref()) {
                None => reader.unknown(key),
                Some(Key { kind: Kind::Later, doc, name, .. }) => {
                    let message = format!("`{name}` is not supported by this version");
                    cx.problem(&reader.at(key.span()), message, Some((*doc).to_owned()));
                }
                Some(_) => {}
            }
        }
        reader
    }

    /// A table whose unknown keys are reported elsewhere.
    pub(crate) fn unchecked(
        cx: &'a Cx<'a>,
        section: &'static Section,
        table: &'a DeTable<'a>,
        place: Place,
        title: String,
    ) -> Self {
        Self { cx, section, table: Some(table), place, title }
    }

    /// A table that is not written.
    pub(crate) fn absent(cx: &'a Cx<'a>, section: &'static Section) -> Self {
        Self { cx, section, table: None, place: Place::default(), title: section.path.to_owned() }
    }

    fn unknown(&self, key: &Spanned<toml::de::DeString<'_>>) {
        let (word, place) = (key.get_ref(), self.at(key.span()));
        if self.cx.is_full() {
            return self.cx.problem(&place, "", None);
        }
        let known =
            || self.section.keys.iter().filter(|key| !matches!(key.kind, Kind::Later)).map(|key| key.name);
        let elsewhere = || {
            let inner = self.section.keys.iter().filter_map(|key| key.kind.section());
            inner.into_iter().find(|section| section.key(word).is_some()).map(|section| section.path)
        };
        let advice = match (nearest(word, known()), elsewhere()) {
            (_, Some(path)) => format!("`{word}` belongs in [{path}]"),
            (Some(near), None) => format!("did you mean `{near}`?"),
            (None, None) => format!("the keys here are {}", known().collect::<Vec<_>>().join(", ")),
        };
        self.cx.problem(&place, format!("unknown key {word:?}{}", self.within()), Some(advice));
    }

    /// ` in [pool.app]`, or ` at the top of the file`.
    fn within(&self) -> String {
        if self.title.is_empty() { " at the top of the file".into() } else { format!(" in [{}]", self.title) }
    }

    fn at(&self, span: std::ops::Range<usize>) -> Place {
        Place { file: self.place.file, span }
    }

    /// The name of a table within this one, for messages.
    pub(crate) fn title_of(&self, name: &str) -> String {
        let is_bare =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let name = if is_bare { name.to_owned() } else { format!("{name:?}") };
        if self.title.is_empty() { name } else { format!("{}.{name}", self.title) }
    }

    /// The value of a key as it is written.
    pub(crate) fn item(&self, name: &str) -> Option<Item<'a>> {
        let (key, value) = self.table?.get_key_value(name)?;
        let place = self.at(value.span());
        Some(Item { cx: self.cx, place, name: key.get_ref(), is_entry: false, value: value.get_ref() })
    }

    /// Whether a key is written.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(name))
    }

    /// Where a key is written; the table itself when it is not.
    pub(crate) fn key_place(&self, name: &str) -> Place {
        let found = self.table.and_then(|table| table.get_key_value(name));
        found.map_or_else(|| self.place.clone(), |(key, _)| self.at(key.span()))
    }

    /// Like [`item`](Self::item), but a missing key is a problem.
    pub(crate) fn required(&self, name: &str) -> Option<Item<'a>> {
        let item = self.item(name);
        if item.is_none() && self.table.is_some() {
            let advice = self.section.key(name).map(|key| format!("`{name}` must be {}", key.kind.expects()));
            self.cx.problem(&self.place, format!("`{name}` is missing{}", self.within()), advice);
        }
        item
    }

    /// Two keys that exclude each other, or one that needs another.
    pub(crate) fn conflict(&self, name: &str, message: impl Into<String>, advice: impl Into<String>) {
        self.cx.problem(&self.key_place(name), message, Some(advice.into()));
    }

    fn define(&self, name: &str) -> &'static Key {
        static NOTHING: Key = Key::later("", "");
        self.section.key(name).unwrap_or(&NOTHING)
    }

    pub(crate) fn kind(&self, name: &str) -> &'static Kind {
        &self.define(name).kind
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        let key = self.define(name);
        let preset = key.preset == Preset::Flag(true);
        self.item(name).map_or(preset, |item| match item.value {
            DeValue::Boolean(value) => *value,
            _ => {
                item.mismatch(&key.kind);
                preset
            }
        })
    }

    pub(crate) fn duration(&self, name: &str) -> Duration {
        let key = self.define(name);
        self.item(name).and_then(|item| item.duration(&key.kind)).unwrap_or_else(|| match key.preset {
            Preset::Text(text) => units::duration(text).unwrap_or_default(),
            _ => Duration::ZERO,
        })
    }

    /// A number that its range makes fit `T`; `None` when neither it nor a preset is there.
    pub(crate) fn maybe<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        let key = self.define(name);
        let written = self.item(name).and_then(|item| match &key.kind {
            Kind::Count { min, max } => item.integer(&key.kind, *min, *max),
            Kind::Size { min, max } => item.size(&key.kind, *min, *max),
            Kind::CountOr { word, min, max } => match item.value {
                DeValue::String(text) if text == word => None,
                _ => item.integer(&key.kind, *min, *max),
            },
            Kind::SizeOr { word, min, max } => match item.value {
                DeValue::String(text) if text == word => None,
                _ => item.size(&key.kind, *min, *max),
            },
            _ => None,
        });
        let preset = || match (key.preset, &key.kind) {
            (Preset::Count(count), _) => Some(count),
            (Preset::Text(text), Kind::Size { .. }) => units::size(text).ok(),
            _ => None,
        };
        written.or_else(preset).and_then(|value| T::try_from(value).ok())
    }

    /// A number that is written or has a preset.
    pub(crate) fn count<T: TryFrom<u64> + Default>(&self, name: &str) -> T {
        self.maybe(name).unwrap_or_default()
    }

    /// One of a key's words; empty when it is required and missing.
    pub(crate) fn word(&self, name: &str) -> &'static str {
        let key = self.define(name);
        let preset = if let Preset::Text(text) = key.preset { text } else { "" };
        let item = if key.preset == Preset::Required { self.required(name) } else { self.item(name) };
        let Some(item) = item else { return preset };
        let (Kind::Word { words, later }, Some(text)) = (&key.kind, item.text(&key.kind)) else {
            return preset;
        };
        if let Some(word) = words.iter().find(|word| **word == text) {
            return word;
        }
        let family =
            |word: &&str| word.split_once(':').is_some_and(|(head, _)| text.starts_with(&format!("{head}:")));
        let choices = format!("it may be {}", crate::keys::quoted(words));
        if later.iter().any(|word| *word == text || family(word)) {
            item.problem(format!("`{name} = {text:?}` is not supported by this version"), Some(choices));
        } else {
            let near = nearest(text, words.iter().copied()).map(|near| format!("did you mean {near:?}?"));
            item.problem(format!("{text:?} is not a value of `{name}`"), near.or(Some(choices)));
        }
        preset
    }

    /// Text of a key, within its limit and without control characters.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        let Kind::Text { max, .. } = self.kind(name) else { return None };
        let item = self.item(name)?;
        let text = item.text(self.kind(name))?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > *max {
            item.problem(format!("`{name}` is too long"), Some(format!("it has at most {max} bytes")));
            return None;
        }
        Some(text)
    }

    /// A text that must not be empty nor hold control characters: a file, variable or host name.
    pub(crate) fn plain(&self, name: &str) -> Option<&'a str> {
        let text = self.text(name)?;
        if text.is_empty() || text.chars().any(char::is_control) {
            let message = if text.is_empty() { "is empty" } else { "has a control character" };
            let advice = format!("leave `{name}` out, or write {}", self.kind(name).expects());
            self.cx.problem(&self.item(name)?.place, format!("`{name}` {message}"), Some(advice));
            return None;
        }
        Some(text)
    }

    /// A key with a grammar of its own.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, name: &str) -> Option<T> {
        self.item(name)?.parse(self.kind(name))
    }

    /// The entries of a list; none when it is not written.
    pub(crate) fn entries(&self, name: &str) -> Vec<Item<'a>> {
        self.item(name).map(|item| item.entries(self.kind(name))).unwrap_or_default()
    }

    /// The names and texts of a map, sorted by place.
    pub(crate) fn map(&self, name: &str) -> Vec<(&'a str, Item<'a>)> {
        let Some(item) = self.item(name) else { return Vec::new() };
        let DeValue::Table(table) = item.value else {
            item.mismatch(self.kind(name));
            return Vec::new();
        };
        let mut pairs: Vec<_> = table.iter().collect();
        pairs.sort_by_key(|(key, _)| key.span().start);
        pairs.into_iter().map(|(key, value)| (&**key.get_ref(), item.child(value))).collect()
    }

    /// A table within this one, if it is written.
    pub(crate) fn table(&self, name: &str) -> Option<Reader<'a>> {
        let section = self.kind(name).section()?;
        self.item(name)?.table(section, self.kind(name), self.title_of(name))
    }

    /// A table within this one, or its presets.
    pub(crate) fn table_or_presets(&self, name: &str, section: &'static Section) -> Reader<'a> {
        self.table(name).unwrap_or_else(|| Self::absent(self.cx, section))
    }

    /// Tables by name, in the order of the file.
    pub(crate) fn named(&self, name: &str) -> Vec<Named<'a>> {
        let Some(section) = self.kind(name).section() else { return Vec::new() };
        let title = self.title_of(name);
        let mut all = Vec::new();
        for (key, item) in self.map(name) {
            let inner = Self { title: title.clone(), table: None, place: Place::default(), ..*self };
            let place = self.named_place(name, key);
            if let Some(reader) = item.table(section, self.kind(name), inner.title_of(key)) {
                all.push(Named { name: key, reader: Reader { place: place.clone(), ..reader }, place });
            }
        }
        all
    }

    fn named_place(&self, name: &str, key: &str) -> Place {
        let table = self.table.and_then(|table| table.get(name)).and_then(|value| value.get_ref().as_table());
        let found = table.and_then(|table| table.get_key_value(key));
        found.map_or_else(Place::default, |(key, _)| self.at(key.span()))
    }

    /// The tables of `[[…]]`.
    pub(crate) fn tables(&self, name: &str) -> Vec<Reader<'a>> {
        let (kind, Some(item)) = (self.kind(name), self.item(name)) else { return Vec::new() };
        let (Some(section), DeValue::Array(array)) = (kind.section(), item.value) else {
            item.mismatch(kind);
            return Vec::new();
        };
        array.iter().filter_map(|entry| item.child(entry).table(section, kind, self.title_of(name))).collect()
    }
}

/// A table by name.
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    /// Of the name.
    pub(crate) place: Place,
    pub(crate) reader: Reader<'a>,
}

/// A message repeats what was written, which may be megabytes.
fn shortened(text: String) -> String {
    const MOST_BYTES: usize = 400;
    if text.len() <= MOST_BYTES {
        return text;
    }
    format!("{} …", &text[..text.floor_char_boundary(MOST_BYTES)])
}
