//! One value with its place, and what it may be.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use super::{Cx, Reader, Spanned};
use crate::keys::{Kind, Section};
use crate::problem::{Finding, Place};
use crate::units::{self, Complaint};

/// A value with its place.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(crate) place: Place,
    /// Of its key, or of the list it stands in.
    pub(super) name: &'a str,
    pub(super) is_entry: bool,
    pub(crate) value: &'a DeValue<'a>,
}

impl<'a> Item<'a> {
    pub(crate) fn problem(&self, message: impl Into<String>, advice: Option<String>) {
        self.cx.problem(&self.place, message, advice);
    }

    /// A problem whose line must not be shown.
    pub(crate) fn secret_problem(&self, message: impl Into<String>, advice: impl Into<String>) {
        let (place, advice) = (self.place.clone(), Some(advice.into()));
        self.cx.add(Finding { place, message: message.into(), advice, is_secret: true });
    }

    pub(crate) fn complain(&self, complaint: Complaint) {
        self.problem(complaint.message, complaint.advice);
    }

    /// Text, or a problem that says what `kind` expects.
    pub(crate) fn text(&self, kind: &Kind) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => {
                self.mismatch(kind);
                None
            }
        }
    }

    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, kind: &Kind) -> Option<T> {
        let text = self.text(kind)?;
        text.parse().map_err(|error: T::Err| self.problem(error.to_string(), None)).ok()
    }

    /// The value is of another type than the key takes.
    pub(crate) fn mismatch(&self, kind: &Kind) {
        let (expected, each) = match kind {
            Kind::List { of, .. } if self.is_entry => (of.expects(), "each entry of "),
            _ if self.is_entry => (kind.expects(), "each entry of "),
            _ => (kind.expects(), ""),
        };
        let message = format!("{each}`{}` must be {expected}, not {}", self.name, described(self.value));
        self.problem(message, self.remedy(kind));
    }

    /// What a value of the wrong type was probably meant to be.
    fn remedy(&self, kind: &Kind) -> Option<String> {
        match (kind, self.value) {
            (Kind::Duration { .. }, DeValue::Integer(n)) => {
                Some(format!("write the unit: \"{n}s\" for seconds, \"{n}ms\" for milliseconds"))
            }
            (Kind::Count { .. } | Kind::Flag, DeValue::String(text)) => {
                let is_meant =
                    text.replace('_', "").parse::<u64>().is_ok() || *text == "true" || *text == "false";
                is_meant.then(|| format!("write {text} without quotes"))
            }
            (Kind::Flag, DeValue::Integer(n)) => match n.as_str() {
                "0" => Some("write false".into()),
                "1" => Some("write true".into()),
                _ => None,
            },
            (Kind::List { alone: false, .. }, DeValue::String(text)) => Some(format!("write [{text:?}]")),
            (_, DeValue::Integer(n)) => match self.name {
                "bind" => Some(format!("write \":{n}\" for this port on every address")),
                "on" => Some(format!("write \"{n}\" in quotes")),
                _ => None,
            },
            (Kind::Tables(section), DeValue::Table(_)) => {
                Some(format!("write the table with double brackets: [[{}]]", section.path))
            }
            _ => None,
        }
    }

    pub(super) fn duration(&self, kind: &Kind) -> Option<Duration> {
        let Kind::Duration { min, max, zero } = kind else { return None };
        let text = self.text(kind)?;
        let value = units::duration(text).map_err(|complaint| self.complain(complaint)).ok()?;
        if value.is_zero() && zero.is_some() || (*min..=*max).contains(&value) {
            return Some(value);
        }
        let bounds = format!("{} to {}", units::duration_text(*min), units::duration_text(*max));
        let or = zero.map_or(String::new(), |meaning| format!(", or \"0\" ({meaning})"));
        self.problem(format!("`{}` is out of its range", self.name), Some(format!("it may be {bounds}{or}")));
        None
    }

    pub(super) fn integer(&self, kind: &Kind, min: u64, max: u64) -> Option<u64> {
        let DeValue::Integer(n) = self.value else {
            self.mismatch(kind);
            return None;
        };
        // A number that no u64 holds is out of every range.
        let value = u64::from_str_radix(n.as_str(), n.radix()).ok();
        self.within(value, min, max, units::grouped)
    }

    pub(super) fn size(&self, kind: &Kind, min: u64, max: u64) -> Option<u64> {
        let value = match self.value {
            DeValue::String(text) => {
                Some(units::size(text).map_err(|complaint| self.complain(complaint)).ok()?)
            }
            DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => {
                self.mismatch(kind);
                return None;
            }
        };
        self.within(value, min, max, units::size_text)
    }

    fn within(&self, value: Option<u64>, min: u64, max: u64, shown: impl Fn(u64) -> String) -> Option<u64> {
        let good = value.filter(|value| (min..=max).contains(value));
        if good.is_none() {
            let advice = format!("it may be {} to {}", shown(min), shown(max));
            self.problem(format!("`{}` is out of its range", self.name), Some(advice));
        }
        good
    }

    /// The entries of a list; a single value is a list of one where `kind` allows it.
    pub(crate) fn entries(&self, kind: &Kind) -> Vec<Self> {
        let Kind::List { max, alone, .. } = kind else { return Vec::new() };
        match self.value {
            DeValue::Array(array) => {
                if array.len() > *max {
                    self.problem(
                        format!("`{}` has {} entries", self.name, array.len()),
                        Some(format!("it has at most {max}")),
                    );
                }
                array.iter().take(*max).map(|entry| self.child(entry)).collect()
            }
            _ if *alone => vec![self.clone()],
            _ => {
                self.mismatch(kind);
                Vec::new()
            }
        }
    }

    pub(super) fn child(&self, value: &'a Spanned<DeValue<'a>>) -> Self {
        let place = Place { file: self.place.file, span: value.span() };
        Self { cx: self.cx, place, name: self.name, is_entry: true, value: value.get_ref() }
    }

    /// Reads the value as a table, `title` being its name in messages.
    pub(crate) fn table(&self, section: &'static Section, kind: &Kind, title: String) -> Option<Reader<'a>> {
        match self.value {
            DeValue::Table(table) => Some(Reader::open(self.cx, section, table, self.place.clone(), title)),
            _ => {
                self.mismatch(kind);
                None
            }
        }
    }
}

fn described(value: &DeValue<'_>) -> Cow<'static, str> {
    const SHORT_CHARS: usize = 24;
    Cow::Borrowed(match value {
        DeValue::String(text) if text.chars().nth(SHORT_CHARS).is_none() => {
            return Cow::Owned(format!("{text:?}"));
        }
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    })
}
