//! Runtime changes written back into the file, with its comments, order and formatting kept.
//!
//! Each function takes a file's text and gives the new one. A pool that stands in an included file is changed there:
//! the caller tries each file until one does not answer [`EditError::NoPool`].

use std::fmt;

use evenkeel_base::{TargetAddr, Weight};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, RawString, Table, TableLike, Value};

use crate::check::address_key;
use crate::checked::Target;
use crate::facts;
use crate::print::value_text;

/// Why a change was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// The text is not TOML.
    Syntax(String),
    /// This file has no such pool; an included one may.
    NoPool(String),
    /// The pool's `targets` is not a list.
    NoTargets(String),
    /// The pool has no such target.
    NoTarget(TargetAddr),
    /// The pool has this target already.
    AlreadyThere(TargetAddr),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "the file is not TOML: {error}"),
            Self::NoPool(pool) => write!(f, "the file has no pool {pool:?}"),
            Self::NoTargets(pool) => write!(f, "`targets` of pool {pool:?} is not a list"),
            Self::NoTarget(address) => write!(f, "the pool has no target {address}"),
            Self::AlreadyThere(address) => write!(f, "the pool has the target {address} already"),
        }
    }
}

impl std::error::Error for EditError {}

/// What is set of a target; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetEdit {
    /// Its share.
    pub weight: Option<Weight>,
    /// Lower is preferred.
    pub priority: Option<u16>,
    /// `Some(None)` takes the limit away.
    pub max_connections: Option<Option<u32>>,
}

/// Adds a target at the end of a pool's list, in the style of the ones that are there.
///
/// # Errors
/// See [`EditError`]; the text is not TOML, or has no such pool, or the pool has the target already.
pub fn add_target(text: &str, pool: &str, target: &Target) -> Result<String, EditError> {
    edit(text, pool, |list| {
        if list.position(&target.address).is_some() {
            return Err(EditError::AlreadyThere(target.address.clone()));
        }
        match list {
            List::Array(array) => push(array, inline(target)),
            List::Tables(tables) => tables.push(table(target)),
        }
        Ok(())
    })
}

/// Removes a target, with the comments that stand above it or after it on its line.
///
/// # Errors
/// See [`EditError`]; the text is not TOML, or has no such pool or target.
pub fn remove_target(text: &str, pool: &str, address: &TargetAddr) -> Result<String, EditError> {
    edit(text, pool, |list| {
        let index = list.position(address).ok_or_else(|| EditError::NoTarget(address.clone()))?;
        match list {
            List::Array(array) => remove(array, index),
            List::Tables(tables) => {
                tables.remove(index);
            }
        }
        Ok(())
    })
}

/// Sets what `change` names; a target written as a string becomes a table when it must.
///
/// # Errors
/// See [`EditError`]; the text is not TOML, or has no such pool or target.
pub fn set_target(
    text: &str,
    pool: &str,
    address: &TargetAddr,
    change: TargetEdit,
) -> Result<String, EditError> {
    edit(text, pool, |list| {
        let index = list.position(address).ok_or_else(|| EditError::NoTarget(address.clone()))?;
        match list {
            List::Array(array) => {
                if let Some(value) = array.get_mut(index) {
                    set_value(value, change);
                }
            }
            List::Tables(tables) => {
                if let Some(table) = tables.get_mut(index) {
                    set_keys(table, change);
                }
            }
        }
        Ok(())
    })
}

/// The two ways to write `targets`.
enum List<'d> {
    Array(&'d mut Array),
    /// `[[pool.NAME.targets]]`.
    Tables(&'d mut ArrayOfTables),
}

impl List<'_> {
    fn position(&self, address: &TargetAddr) -> Option<usize> {
        let wanted = address_key(address);
        let is_it = |text: Option<&str>| {
            text.and_then(|text| text.parse::<TargetAddr>().ok())
                .is_some_and(|found| address_key(&found) == wanted)
        };
        match self {
            Self::Array(array) => array.iter().position(|value| {
                let inner =
                    value.as_inline_table().and_then(|table| table.get("address")).and_then(Value::as_str);
                is_it(value.as_str().or(inner))
            }),
            Self::Tables(tables) => {
                tables.iter().position(|table| is_it(table.get("address").and_then(Item::as_str)))
            }
        }
    }
}

fn edit(
    text: &str,
    pool: &str,
    change: impl FnOnce(&mut List<'_>) -> Result<(), EditError>,
) -> Result<String, EditError> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| EditError::Syntax(error.message().to_owned()))?;
    let table: &mut dyn TableLike = document
        .get_mut("pool")
        .and_then(Item::as_table_like_mut)
        .and_then(|pools| pools.get_mut(pool))
        .and_then(Item::as_table_like_mut)
        .ok_or_else(|| EditError::NoPool(pool.to_owned()))?;
    let mut list = match table.get_mut("targets") {
        Some(Item::Value(Value::Array(array))) => List::Array(array),
        Some(Item::ArrayOfTables(tables)) => List::Tables(tables),
        _ => return Err(EditError::NoTargets(pool.to_owned())),
    };
    change(&mut list)?;
    // `[[pool.NAME.targets]]` of none would be no key at all, and `targets` must be written.
    if matches!(&list, List::Tables(tables) if tables.is_empty()) {
        table.insert("targets", toml_edit::value(Array::new()));
    }
    Ok(document.to_string())
}

/// The target as one value.
fn inline(target: &Target) -> Value {
    let address = || Value::from(target.address.to_string());
    value_text(&facts::target(target)).parse().unwrap_or_else(|_| address())
}

fn table(target: &Target) -> Table {
    let mut table = Table::new();
    table.insert("address", toml_edit::value(target.address.to_string()));
    let limit = target.max_connections.map(Some);
    let weight = (target.weight != Weight::ONE).then_some(target.weight);
    let priority = (target.priority != 0).then_some(target.priority);
    set_keys(&mut table, TargetEdit { weight, priority, max_connections: limit });
    table
}

/// Appends to a list of one line, or of one line per entry. What follows the last entry on its line, a comment, stays
/// with it.
fn push(array: &mut Array, mut value: Value) {
    let last = array.len().checked_sub(1);
    let is_tall =
        array.iter().any(|entry| prefix(entry).contains('\n')) || raw(Some(array.trailing())).contains('\n');
    if !is_tall {
        value.decor_mut().set_prefix(if last.is_some() { " " } else { "" });
        array.push_formatted(value);
        return;
    }
    let indent = array.iter().last().map_or_else(|| "    ".to_owned(), |entry| indent_of(&prefix(entry)));
    // Without a trailing comma the comment is the entry's own suffix, with one the list's.
    let suffix = last.and_then(|index| array.get_mut(index)).map(|entry| {
        let suffix = raw(entry.decor().suffix());
        entry.decor_mut().set_suffix("");
        suffix
    });
    let trailing = raw(Some(array.trailing()));
    let after = format!("{}{trailing}", suffix.unwrap_or_default());
    let (kept, closing) = after.rsplit_once('\n').unwrap_or((after.as_str(), ""));
    value.decor_mut().set_prefix(format!("{}\n{indent}", kept.trim_end()));
    value.decor_mut().set_suffix("");
    array.push_formatted(value);
    array.set_trailing_comma(true);
    array.set_trailing(format!("\n{closing}"));
}

/// Removes an entry. The text before it begins with what belongs to the one before, on that one's line.
fn remove(array: &mut Array, index: usize) {
    let Some(gone) = array.get(index).map(prefix) else { return };
    let (belongs_before, _) = split_line(&gone);
    let is_last = index + 1 == array.len();
    let suffix = array.get(index).map(|entry| raw(entry.decor().suffix())).unwrap_or_default();
    array.remove(index);
    if is_last {
        let after = format!("{suffix}{}", raw(Some(array.trailing())));
        let (_, rest) = split_line(&after);
        // On one line nothing but the closing bracket follows.
        array.set_trailing(if after.contains('\n') { format!("{belongs_before}{rest}") } else { after });
        if array.is_empty() {
            array.set_trailing_comma(false);
        }
    } else if let Some(next) = array.get_mut(index) {
        let after = prefix(next);
        if after.contains('\n') {
            let (_, rest) = split_line(&after);
            next.decor_mut().set_prefix(format!("{belongs_before}{rest}"));
        } else if index == 0 {
            next.decor_mut().set_prefix(gone);
        }
    }
}

/// A comment to the end of the line, and the rest from its line break on.
fn split_line(text: &str) -> (&str, &str) {
    text.split_at(text.find('\n').unwrap_or(text.len()))
}

/// The white space before an entry on its own line.
fn indent_of(prefix: &str) -> String {
    let line = prefix.rsplit('\n').next().unwrap_or_default();
    line.chars().take_while(|c| c.is_whitespace()).collect()
}

fn prefix(value: &Value) -> String {
    raw(value.decor().prefix())
}

fn raw(text: Option<&RawString>) -> String {
    text.and_then(RawString::as_str).unwrap_or_default().to_owned()
}

fn set_value(value: &mut Value, change: TargetEdit) {
    if let Some(address) = value.as_str().map(str::to_owned) {
        if change == TargetEdit::default() {
            return;
        }
        let mut table = InlineTable::new();
        table.insert("address", Value::from(address));
        let mut whole = Value::InlineTable(table);
        *whole.decor_mut() = value.decor().clone();
        *value = whole;
    }
    if let Value::InlineTable(table) = value {
        set_keys(table, change);
    }
}

fn set_keys(table: &mut dyn TableLike, change: TargetEdit) {
    let mut set = |key: &str, number: i64| match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(known) => {
            let decor = known.decor().clone();
            *known = Value::from(number);
            *known.decor_mut() = decor;
        }
        None => {
            table.insert(key, toml_edit::value(number));
        }
    };
    if let Some(weight) = change.weight {
        set("weight", weight.as_u16().into());
    }
    if let Some(priority) = change.priority {
        set("priority", priority.into());
    }
    match change.max_connections {
        Some(Some(limit)) => set("max_connections", limit.into()),
        Some(None) => {
            table.remove("max_connections");
        }
        None => {}
    }
}

#[cfg(test)]
mod tests;
