//! What the admin API may ask of this process.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use evenkeel_admin::{Access, AuditLog, Control, Facts, Listening, Refusal, SavedEdit};
use evenkeel_api::Plan;
use evenkeel_base::Reason;
use evenkeel_config::Change;
use evenkeel_config::edit::{self, EditError, TargetEdit};
use evenkeel_net::BoundSocket;
use evenkeel_state::Registry;

use crate::logs::tell;
use crate::process::{Process, Refused};
use crate::source::{included_by, load_text};

/// Serves the admin API until the process ends.
pub(crate) async fn serve(process: Arc<Process>, socket: BoundSocket) {
    let registry = &process.registry;
    let Some(admin) = registry.snapshot().config.admin.clone() else { return };
    let audit = AuditLog::open(admin.audit_log.as_deref()).or_else(|error| {
        tell(&format!(
            "evenkeel: cannot open the audit log: {error}; changes are recorded on standard error"
        ));
        AuditLog::open(None)
    });
    let Ok(audit) = audit else { return };
    let access = Access::new(admin.token, admin.open_metrics);
    let control = Arc::new(Running { process: Arc::clone(&process) });
    let router = evenkeel_admin::router(Arc::clone(registry), control, access.clone(), audit);
    tokio::spawn(follow_token(Arc::clone(registry), access));
    let listening = match socket {
        BoundSocket::Tcp(listener) => Listening::Tcp(listener),
        BoundSocket::Unix(listener) => Listening::Unix(listener),
    };
    if let Err(error) = evenkeel_admin::serve(vec![listening], router, std::future::pending()).await {
        tell(&format!("evenkeel: the admin API has ended: {error}"));
    }
}

/// A reload may bring another token; it counts from the next call on.
async fn follow_token(registry: Arc<Registry>, access: Access) {
    let mut changes = registry.subscribe();
    while changes.changed().await.is_ok() {
        if let Some(admin) = &registry.snapshot().config.admin {
            access.set(admin.token.clone(), admin.open_metrics);
        }
    }
}

/// When the process started, by the wall clock.
pub(crate) fn started() -> SystemTime {
    static STARTED: OnceLock<SystemTime> = OnceLock::new();
    *STARTED.get_or_init(SystemTime::now)
}

#[derive(Debug)]
struct Running {
    process: Arc<Process>,
}

impl Control for Running {
    async fn reload(&self) -> Result<Plan, Refusal> {
        self.process.reload().await.map(plan).map_err(refusal)
    }

    async fn replace(&self, text: String, if_match: Option<String>, dry_run: bool) -> Result<Plan, Refusal> {
        if if_match.is_some_and(|etag| etag != self.config().1) {
            let message = "the configuration has changed since it was read; read it again";
            return Err(Refusal::new(Reason::Conflict, message));
        }
        let path = self.process.path.clone().unwrap_or_else(|| PathBuf::from("config"));
        let config = load_text(&text, &path).map_err(|problems| Refusal::problems(&problems))?;
        if dry_run {
            return Ok(plan(evenkeel_config::diff(&self.process.registry.snapshot().config, &config)));
        }
        self.process.adopt(config).await.map(plan).map_err(refusal)
    }

    fn config(&self) -> (String, String) {
        let text = evenkeel_config::to_toml(&self.process.registry.snapshot().config);
        let etag = format!("{:016x}", evenkeel_balance::hash_bytes(text.as_bytes()));
        (text, etag)
    }

    async fn save(&self, edit: SavedEdit) -> Result<(), Refusal> {
        let Some(path) = &self.process.path else {
            return Err(Refusal::new(Reason::SaveFailed, "the change is live, but the process has no file"));
        };
        let save_failed = |cause: String| {
            Refusal::new(Reason::SaveFailed, format!("the change is live, but was not written: {cause}"))
        };
        save(path, &edit).map_err(save_failed)
    }

    fn bound(&self) -> Vec<(String, Vec<String>)> {
        self.process.bound()
    }

    fn facts(&self) -> Facts {
        let draining = self.process.draining.load(Relaxed);
        Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: started(),
            workers: self.process.workers,
            config_file: self.process.path.clone(),
            draining,
            ready: !draining,
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // called by `map`
fn plan(changes: Vec<Change>) -> Plan {
    Plan {
        needs_restart: changes.iter().any(Change::needs_restart),
        changes: changes.iter().map(ToString::to_string).collect(),
    }
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::Config(problems) => Refusal::problems(&problems),
        other => Refusal::new(other.reason(), other.lines().join("; ")),
    }
}

/// Writes the change into the file that holds the pool, the main one or an included one.
fn save(path: &Path, change: &SavedEdit) -> Result<(), String> {
    let mut files = vec![path.to_owned()];
    files.extend(included_by(path).files);
    for file in &files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        match edited(&text, change) {
            Ok(text) => return replace(path, file, &text),
            Err(EditError::NoPool(_)) => {}
            Err(error) => return Err(format!("{}: {error}", file.display())),
        }
    }
    Err(format!("neither {} nor what it includes has that pool", path.display()))
}

fn edited(text: &str, change: &SavedEdit) -> Result<String, EditError> {
    match change {
        SavedEdit::Add { pool, target } => edit::add_target(text, pool.as_str(), target),
        SavedEdit::Remove { pool, address } => edit::remove_target(text, pool.as_str(), address),
        SavedEdit::Set { pool, address, weight, priority, max_connections } => {
            let change =
                TargetEdit { weight: *weight, priority: *priority, max_connections: *max_connections };
            edit::set_target(text, pool.as_str(), address, change)
        }
    }
}

/// Replaces a file whole, by renaming: a reader sees the old text or the new one. The new text is checked first,
/// so that a restart never meets a file that we spoilt.
fn replace(main: &Path, file: &Path, text: &str) -> Result<(), String> {
    if main == file {
        load_text(text, main).map_err(|problems| problems.to_string())?;
    }
    let fresh = file.with_extension(format!("{}.new", std::process::id()));
    let written = std::fs::write(&fresh, text)
        .and_then(|()| std::fs::metadata(file))
        .and_then(|meta| std::fs::set_permissions(&fresh, meta.permissions()))
        .and_then(|()| std::fs::rename(&fresh, file));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&fresh);
        format!("{}: {error}", file.display())
    })
}
