//! What an origin executed.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::http::Head;

/// One request that reached an origin.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `x-request-id`, or empty.
    pub id: String,
    /// The method.
    pub method: String,
    /// The request target as received.
    pub path: String,
    /// All of the head, unless the behaviour said not to keep it.
    pub head: Option<Arc<Head>>,
    /// When the head was read.
    pub at: Instant,
    /// Which connection of this origin, counted from 1.
    pub connection: u64,
    /// Body bytes read.
    pub body_bytes: u64,
    /// Hash of the body; only meaningful once `complete`.
    pub body_hash: u64,
    /// The request arrived whole.
    pub complete: bool,
    /// The status, once the whole answer was handed to the kernel.
    pub answered: Option<u16>,
    /// The origin spoilt its own answer: cut it off, lied about its length, followed a script, or was killed
    /// before the answer was delivered for sure.
    pub spoilt: bool,
}

impl Entry {
    /// Whether the origin acted on it: it was whole, or was answered without waiting for its body.
    pub fn executed(&self) -> bool {
        self.complete || self.answered.is_some()
    }

    /// A field of the request, as it reached the origin.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.as_ref().and_then(|head| head.header(name))
    }
}

/// The entries of one origin, oldest first; it outlives restarts. Shared with the running origin.
#[derive(Debug, Clone, Default)]
pub struct OriginJournal(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    entries: Vec<Entry>,
    /// How many entries were taken out before the first one here.
    taken: usize,
    health_checks: u64,
    connections: u64,
}

impl OriginJournal {
    /// A copy of all entries.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Takes the entries out, for runs too long to keep them. Call it when no request is under way.
    pub fn take(&self) -> Vec<Entry> {
        let mut book = self.lock();
        let entries = std::mem::take(&mut book.entries);
        book.taken += entries.len();
        entries
    }

    /// Every entry with this id, oldest first.
    pub fn of(&self, id: &str) -> Vec<Entry> {
        self.lock().entries.iter().filter(|entry| entry.id == id).cloned().collect()
    }

    /// The newest entry.
    pub fn last(&self) -> Option<Entry> {
        self.lock().entries.last().cloned()
    }

    /// Number of requests that reached the origin, health checks aside.
    pub fn len(&self) -> usize {
        let book = self.lock();
        book.taken + book.entries.len()
    }

    /// Whether none did.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of requests for `/healthz`.
    pub fn health_checks(&self) -> u64 {
        self.lock().health_checks
    }

    /// Number of connections accepted, over all restarts.
    pub fn connections(&self) -> u64 {
        self.lock().connections
    }

    /// Enters a request by hand, for journals kept by other means and to test the judge.
    pub fn push(&self, entry: Entry) {
        self.begin(entry);
    }

    /// Returns the entry's number.
    pub(super) fn begin(&self, entry: Entry) -> usize {
        let mut book = self.lock();
        book.entries.push(entry);
        book.taken + book.entries.len() - 1
    }

    pub(super) fn change(&self, number: usize, change: impl FnOnce(&mut Entry)) {
        let mut book = self.lock();
        if let Some(at) = number.checked_sub(book.taken)
            && let Some(entry) = book.entries.get_mut(at)
        {
            change(entry);
        }
    }

    pub(super) fn health_check(&self) {
        self.lock().health_checks += 1;
    }

    pub(super) fn connection(&self) -> u64 {
        let mut book = self.lock();
        book.connections += 1;
        book.connections
    }

    pub(crate) fn with_entries<R>(&self, read: impl FnOnce(&[Entry]) -> R) -> R {
        read(&self.lock().entries)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }
}
