//! The world that a configuration refers to: its own file, the files it includes, the environment, and secrets.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use evenkeel_config::limits::{MAX_FILE_BYTES, MAX_INCLUDED_FILES};
use evenkeel_config::{Config, Problems, Source};

use crate::screen::cause;

/// Longest secret: a token is some 40 bytes, and a wrong path may lead to anything.
const MAX_SECRET_BYTES: usize = 64 << 10;

/// Why a configuration file is not a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoadError {
    /// The file could not be read.
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// It was read, and has problems.
    Problems(Problems),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, cause } => {
                write!(f, "cannot read the configuration {}: {cause}", path.display())
            }
            Self::Problems(problems) => problems.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads and checks the configuration in this file. What it refers to is looked up from the file's folder.
///
/// # Errors
/// That it cannot be read, or all its problems.
pub(crate) fn load_file(path: &Path) -> Result<Config, LoadError> {
    let unreadable = |cause| LoadError::Unreadable { path: path.to_owned(), cause };
    let text = read_text(path, MAX_FILE_BYTES).map_err(unreadable)?;
    load_text(&text, path).map_err(LoadError::Problems)
}

/// Reads and checks the configuration that comes in on standard input, as if it lay in the current folder.
///
/// # Errors
/// Like [`load_file`].
pub(crate) fn load_stdin() -> Result<Config, LoadError> {
    let path = Path::new("<stdin>");
    let text = read_at_most(io::stdin().lock(), MAX_FILE_BYTES)
        .map_err(|cause| LoadError::Unreadable { path: path.to_owned(), cause })?;
    load_text(&text, path).map_err(LoadError::Problems)
}

/// Checks a text as if it stood in the file of this path; that file need not be there.
///
/// # Errors
/// All its problems.
pub(crate) fn load_text(text: &str, path: &Path) -> Result<Config, Problems> {
    evenkeel_config::load(text, &path.to_string_lossy(), &Files::beside(path))
}

/// What a configuration file includes.
#[derive(Debug, Default)]
pub(crate) struct Included {
    /// The files, as far as they can be read.
    pub(crate) files: Vec<PathBuf>,
    /// Where they are looked for; a folder need not be there.
    pub(crate) folders: Vec<PathBuf>,
}

/// What this one includes now; whether it has problems does not matter.
pub(crate) fn included_by(path: &Path) -> Included {
    let Ok(text) = read_text(path, MAX_FILE_BYTES) else { return Included::default() };
    let files = Files::beside(path);
    // Only what it asks for is of interest.
    let _ = evenkeel_config::load(&text, &path.to_string_lossy(), &files);
    files.included.into_inner()
}

/// What lies beside a configuration file, and the environment.
#[derive(Debug)]
struct Files {
    folder: PathBuf,
    /// Names by real path: a file that two patterns reach, or reach by different spellings, is one file.
    known: RefCell<HashMap<PathBuf, String>>,
    included: RefCell<Included>,
}

impl Files {
    fn beside(path: &Path) -> Self {
        let mut known = HashMap::new();
        if let Ok(real) = path.canonicalize() {
            known.insert(real, path.to_string_lossy().into_owned());
        }
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self { folder, known: RefCell::new(known), included: RefCell::default() }
    }

    fn read_included(&self, path: PathBuf) -> Result<(String, String), String> {
        let named = |cause| format!("{}: {cause}", path.display());
        let text = read_text(&path, MAX_FILE_BYTES).map_err(named)?;
        let real = path.canonicalize().map_err(|error| named(cause(&error)))?;
        let mut known = self.known.borrow_mut();
        let name = known.entry(real).or_insert_with(|| path.to_string_lossy().into_owned()).clone();
        self.included.borrow_mut().files.push(path);
        Ok((name, text))
    }
}

impl Source for Files {
    fn include(&self, pattern: &str) -> Result<Vec<(String, String)>, String> {
        let (folder, last) = pattern.rsplit_once('/').map_or(("", pattern), |(folder, last)| {
            // "/x" lies in the root, which is the slash itself.
            (if folder.is_empty() { "/" } else { folder }, last)
        });
        if folder.contains('*') {
            return Err("'*' may stand only in the last part, after the last '/'".into());
        }
        let folder = self.folder.join(folder);
        self.included.borrow_mut().folders.push(folder.clone());
        if !last.contains('*') {
            let path = folder.join(last);
            // Nothing there is for the caller to report; it points at the pattern's place.
            let is_there = path.try_exists().map_err(|error| cause(&error))?;
            if !is_there && pattern.contains(['?', '[']) {
                return Err("there is no such file; of wildcards only '*' is known".into());
            }
            return if is_there { Ok(vec![self.read_included(path)?]) } else { Ok(Vec::new()) };
        }
        // One more than the limit is enough for the caller to see that it is exceeded.
        matching(&folder, last)?
            .into_iter()
            .take(MAX_INCLUDED_FILES.saturating_add(1))
            .map(|path| self.read_included(path))
            .collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        // A name with '=' or NUL, or an empty one, cannot be asked for.
        let is_askable = !name.is_empty() && !name.contains(['=', '\0']);
        if is_askable { std::env::var(name).ok() } else { None }
    }

    fn secret_file(&self, path: &str) -> Result<String, String> {
        let mut text = read_text(&self.folder.join(path), MAX_SECRET_BYTES)?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

/// The files of a folder whose names match, sorted by name. Hidden ones match only a pattern that begins with a
/// dot: editors keep their lock and swap files so. A folder that is not there has none.
fn matching(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let named = |error: io::Error| format!("{}: {}", here.display(), cause(&error));
    let entries = match std::fs::read_dir(here) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(named)?.file_name();
        let text = name.to_string_lossy();
        let is_hidden = text.starts_with('.') && !pattern.starts_with('.');
        if is_hidden || !matches(pattern, &text) {
            continue;
        }
        let path = folder.join(&name);
        // A folder that happens to match is no configuration; a dangling link is left in, and reported.
        if !path.is_dir() {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether the name matches a pattern in which `*` stands for any part, even an empty one. It steps back to the last
/// `*` alone: at worst the product of both lengths, not a power of them.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            last_star = Some((p, n));
            p += 1;
        } else if pattern.get(p) == name.get(n) {
            p += 1;
            n += 1;
        } else if let Some((star, taken)) = last_star {
            // Let the star take one byte more.
            last_star = Some((star, taken + 1));
            p = star + 1;
            n = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

fn read_text(path: &Path, most: usize) -> Result<String, String> {
    let file = File::open(path).map_err(|error| cause(&error))?;
    read_at_most(file, most)
}

/// A wrong path may lead to a device without an end, or to a disk image.
fn read_at_most(from: impl Read, most: usize) -> Result<String, String> {
    let mut text = String::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_to_string(&mut text).map_err(|error| cause(&error))?;
    if text.len() > most {
        return Err(format!("it is larger than {} KiB", most >> 10));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
