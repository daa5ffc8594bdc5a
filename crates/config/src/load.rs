//! From text to a checked configuration.

use std::collections::HashSet;

use toml::de::DeTable;

use crate::check;
use crate::checked::Config;
use crate::keys::TOP;
use crate::limits::{MAX_FILE_BYTES, MAX_INCLUDED_FILES};
use crate::problem::{Place, Problems, locate};
use crate::read::{Cx, Item, Reader};
use crate::source::Source;

/// Reads and checks a configuration.
///
/// `origin` is the file's name in messages; `source` brings in what the text refers to.
///
/// # Errors
/// Every problem that can be found at once: syntax first, since a text that is not TOML says nothing surely;
/// then unknown keys, wrong types and values, names that lead nowhere, duplicates and conflicts.
pub fn load(text: &str, origin: &str, source: &dyn Source) -> Result<Config, Problems> {
    let cx = Cx::new(source);
    cx.names.borrow_mut().push(origin.to_owned());
    let mut included = Vec::new();
    let config = load_into(&cx, text, origin, &mut included);
    let (findings, omitted) = cx.into_findings();
    match config {
        Some(config) if findings.is_empty() => Ok(config),
        _ => {
            let files: Vec<(&str, &str)> = std::iter::once((origin, text))
                .chain(included.iter().map(|(name, text)| (name.as_str(), text.as_str())))
                .collect();
            Err(locate(findings, omitted, &files))
        }
    }
}

fn load_into(cx: &Cx<'_>, text: &str, origin: &str, included: &mut Vec<(String, String)>) -> Option<Config> {
    let main = parse(cx, 0, text)?;
    *included = include(cx, &main, origin);
    cx.is_incomplete.set(cx.has_problems());
    let mut files = vec![(0, main)];
    for (index, (_, text)) in included.iter().enumerate() {
        files.push((index + 1, parse(cx, index + 1, text).unwrap_or_default()));
    }
    if cx.has_problems() && !cx.is_incomplete.get() {
        return None;
    }
    check::config(cx, &files)
}

/// The tree of one file. Text that is not TOML is reported alone: what it says is not sure.
fn parse<'t>(cx: &Cx<'_>, file: usize, text: &'t str) -> Option<DeTable<'t>> {
    let start = Place { file, span: 0..0 };
    if text.len() > MAX_FILE_BYTES {
        let advice = format!("a configuration has at most {} MiB", MAX_FILE_BYTES >> 20);
        cx.problem(&start, "the file is too large", Some(advice));
        return None;
    }
    if text.trim().is_empty() {
        let message =
            if file == 0 { "the file is empty: nothing to listen on" } else { "the included file is empty" };
        let advice = "a file that is written in place is empty for a moment; write another one and rename it";
        cx.problem(&start, message, Some(advice.into()));
        return None;
    }
    match DeTable::parse(text) {
        Ok(table) => Some(table.into_inner()),
        Err(first) => {
            // Going on after an error costs memory for each that follows: not for what is no configuration.
            let is_small = text.len() <= MAX_RECOVERED_BYTES;
            let errors = if is_small { DeTable::parse_recoverable(text).1 } else { vec![first] };
            syntax_problems(cx, file, text, &errors);
            None
        }
    }
}

/// Of a larger file, only the first syntax error is reported.
const MAX_RECOVERED_BYTES: usize = 1 << 20;

/// So many errors are looked at, and so many of them reported: after them, the rest is noise from the first.
const MAX_SYNTAX_ERRORS: (usize, usize) = (200, 10);

fn syntax_problems(cx: &Cx<'_>, file: usize, text: &str, errors: &[toml::de::Error]) {
    let mut lines = HashSet::new();
    let mut repeated_table = None;
    let (most_examined, most_reported) = MAX_SYNTAX_ERRORS;
    for error in errors.iter().take(most_examined) {
        let span = error.span().unwrap_or(0..0);
        let start = text.floor_char_boundary(span.start);
        // One slip makes the parser stumble several times; the first on a line is the telling one.
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let is_repeated = error.message() == "duplicate key";
        // The keys of a repeated table are repeated by that.
        let follows = |table: usize| text.get(table..start).is_some_and(|between| !between.contains("\n["));
        if is_repeated && repeated_table.is_some_and(follows) {
            continue;
        }
        let is_header = text[line_start..].trim_start().starts_with('[');
        repeated_table = (is_repeated && is_header).then_some(start);
        if lines.len() >= most_reported || !lines.insert(line_start) {
            continue;
        }
        let (message, advice) = match (is_repeated, is_header) {
            (true, true) => {
                ("this table is written twice".to_owned(), Some("put its keys under one header".to_owned()))
            }
            (true, false) => ("this key is written twice".to_owned(), Some("keep one of them".to_owned())),
            _ => (format!("this is not TOML: {}", error.message()), None),
        };
        cx.problem(&Place { file, span }, message, advice);
    }
}

/// The files that the main one includes, each once.
fn include<'a>(cx: &'a Cx<'a>, main: &'a DeTable<'a>, origin: &str) -> Vec<(String, String)> {
    let reader = Reader::unchecked(cx, &TOP, main, Place::default(), String::new());
    let mut seen = HashSet::from([origin.to_owned()]);
    let mut files: Vec<(String, String)> = Vec::new();
    for item in reader.entries("include") {
        let Some(pattern) = item.text(reader.kind("include")) else { continue };
        for (name, text) in matches(cx, &item, pattern) {
            if seen.insert(name.clone()) {
                cx.names.borrow_mut().push(name.clone());
                files.push((name, text));
            }
        }
        if files.len() > MAX_INCLUDED_FILES {
            let advice = Some(format!("it may include {MAX_INCLUDED_FILES}"));
            cx.problem(&item.place, format!("this includes more than {MAX_INCLUDED_FILES} files"), advice);
            break;
        }
    }
    files
}

fn matches(cx: &Cx<'_>, item: &Item<'_>, pattern: &str) -> Vec<(String, String)> {
    let found = cx.source.include(pattern);
    let is_literal = !pattern.contains(['*', '?', '[']);
    match found {
        Ok(files) if files.is_empty() && is_literal => {
            cx.problem(&item.place, format!("there is no file {pattern:?}"), None);
            files
        }
        Ok(files) => files,
        Err(error) => {
            cx.problem(&item.place, format!("{pattern:?} cannot be included: {error}"), None);
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests;
