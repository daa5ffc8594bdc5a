//! What the process around the API can do, and how it says no.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::SystemTime;

use evenkeel_api::Plan;
use evenkeel_base::{PoolName, Reason, TargetAddr, Weight};

/// What the process around the API can do; implemented by the binary.
pub trait Control: Send + Sync + 'static {
    /// Reads the configuration file again and adopts it.
    fn reload(&self) -> impl Future<Output = Result<Plan, Refusal>> + Send;

    /// Adopts this TOML text, or with `dry_run` tells what it would change. `if_match` is the etag that the
    /// configuration in force must have; otherwise the refusal is a [`Reason::Conflict`].
    fn replace(
        &self,
        text: String,
        if_match: Option<String>,
        dry_run: bool,
    ) -> impl Future<Output = Result<Plan, Refusal>> + Send;

    /// The TOML text now in force, without secrets, and its etag (letters, digits and `-`, without quotes).
    fn config(&self) -> (String, String);

    /// Writes a runtime change back to the file, comments kept. The change is live already.
    fn save(&self, edit: SavedEdit) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Listeners by name, each with the addresses it is bound to, real ports included.
    fn bound(&self) -> Vec<(String, Vec<String>)>;

    /// What there is to say about the process.
    fn facts(&self) -> Facts;
}

/// What there is to say about the process.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The running version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started: SystemTime,
    /// Data workers.
    pub workers: usize,
    /// The file that [`Control::reload`] reads, and that [`Control::save`] writes.
    pub config_file: Option<PathBuf>,
    /// Whether the process is on its way out.
    pub draining: bool,
    /// Whether every listener is being served.
    pub ready: bool,
}

/// A runtime change that is to be written to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedEdit {
    /// A new target.
    Add {
        /// Its pool.
        pool: PoolName,
        /// What it is.
        target: evenkeel_config::Target,
    },
    /// A target is gone.
    Remove {
        /// Its pool.
        pool: PoolName,
        /// Which.
        address: TargetAddr,
    },
    /// A target's settings changed; what is `None` stays.
    Set {
        /// Its pool.
        pool: PoolName,
        /// Which.
        address: TargetAddr,
        /// New share.
        weight: Option<Weight>,
        /// New priority.
        priority: Option<u16>,
        /// New limit; `Some(None)` lifts it.
        max_connections: Option<Option<u32>>,
    },
}

/// Why something was not done. Nothing was changed, except with [`Reason::SaveFailed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The named cause; it decides the status.
    pub reason: Reason,
    /// One sentence for people, without secrets.
    pub message: String,
    /// Where in the request: a field, a query parameter, or `line:column`.
    pub at: Option<String>,
    /// Every problem of a configuration, each with its place.
    pub problems: Vec<String>,
}

impl Refusal {
    /// A refusal without a place.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), at: None, problems: Vec::new() }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, at: impl Into<String>) -> Self {
        self.at = Some(at.into());
        self
    }

    /// Everything that is wrong with a configuration.
    pub fn problems(problems: &evenkeel_config::Problems) -> Self {
        let line = |p: &evenkeel_config::Problem| {
            let advice = p.advice.as_ref().map_or(String::new(), |advice| format!(": {advice}"));
            format!("{}:{}:{}: {}{advice}", p.file, p.line, p.column, p.message)
        };
        let lines: Vec<String> = problems.list.iter().map(line).collect();
        let count = problems.list.len().saturating_add(problems.omitted);
        let plural = if count == 1 { "" } else { "s" };
        Self {
            reason: Reason::BadConfig,
            message: format!("the configuration has {count} problem{plural}; nothing was changed"),
            at: problems.list.first().map(|p| format!("{}:{}", p.line, p.column)),
            problems: lines,
        }
    }
}

type Pending<'c, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'c>>;

/// [`Control`] behind a pointer, so that handlers are compiled once and not per implementation.
pub(crate) trait AnyControl: Send + Sync {
    fn reload(&self) -> Pending<'_, Plan>;
    fn replace(&self, text: String, if_match: Option<String>, dry_run: bool) -> Pending<'_, Plan>;
    fn config(&self) -> (String, String);
    fn save(&self, edit: SavedEdit) -> Pending<'_, ()>;
    fn bound(&self) -> Vec<(String, Vec<String>)>;
    fn facts(&self) -> Facts;
}

impl<C: Control> AnyControl for C {
    fn reload(&self) -> Pending<'_, Plan> {
        Box::pin(Control::reload(self))
    }

    fn replace(&self, text: String, if_match: Option<String>, dry_run: bool) -> Pending<'_, Plan> {
        Box::pin(Control::replace(self, text, if_match, dry_run))
    }

    fn config(&self) -> (String, String) {
        Control::config(self)
    }

    fn save(&self, edit: SavedEdit) -> Pending<'_, ()> {
        Box::pin(Control::save(self, edit))
    }

    fn bound(&self) -> Vec<(String, Vec<String>)> {
        Control::bound(self)
    }

    fn facts(&self) -> Facts {
        Control::facts(self)
    }
}
