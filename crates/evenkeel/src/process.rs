//! The process around the planes: how a configuration is adopted, whoever asks for it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_base::{ListenerName, Reason};
use evenkeel_config::{Change, Config, Problems};
use evenkeel_net::BindError;
use evenkeel_state::Registry;

use crate::listeners::Listeners;
use crate::source::{LoadError, load_file};

/// Why a configuration was not adopted. Nothing was changed.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It has problems.
    Config(Problems),
    /// An address could not be listened on.
    Bind(BindError),
    /// The file could not be read.
    File(String),
    /// The process was started without a file.
    NoFile,
    /// The process is on its way out.
    Draining,
}

impl Refused {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Config(_) | Self::File(_) => Reason::BadConfig,
            Self::Bind(_) => Reason::BindFailed,
            Self::NoFile => Reason::NotFound,
            Self::Draining => Reason::Draining,
        }
    }

    /// One line per problem.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(problems) => problems.list.iter().map(ToString::to_string).collect(),
            Self::Bind(error) => vec![error.to_string()],
            Self::File(error) => vec![error.clone()],
            Self::NoFile => vec!["the process was started without a configuration file".to_owned()],
            Self::Draining => {
                vec!["the process is stopping; start it again with the new configuration".to_owned()]
            }
        }
    }
}

impl From<LoadError> for Refused {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Problems(problems) => Self::Config(problems),
            other => Self::File(other.to_string()),
        }
    }
}

/// The running process, as the control side sees it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) registry: Arc<Registry>,
    /// The file it was started with.
    pub(crate) path: Option<PathBuf>,
    pub(crate) workers: usize,
    pub(crate) draining: AtomicBool,
    /// One reload at a time, so that the file read last is the one in force.
    reloading: tokio::sync::Mutex<()>,
    /// One change at a time: binding and adopting must not interleave.
    listeners: tokio::sync::Mutex<Listeners>,
    bound: Mutex<Vec<(String, Vec<String>)>>,
}

impl Process {
    pub(crate) fn new(
        registry: Arc<Registry>,
        path: Option<PathBuf>,
        workers: usize,
        listeners: Listeners,
    ) -> Self {
        Self {
            registry,
            path,
            workers,
            draining: AtomicBool::new(false),
            reloading: tokio::sync::Mutex::default(),
            listeners: tokio::sync::Mutex::new(listeners),
            bound: Mutex::default(),
        }
    }

    /// Listens where the first configuration says; the registry has adopted it already.
    pub(crate) async fn listen(&self) -> Result<(), BindError> {
        let mut listeners = self.listeners.lock().await;
        let config = Arc::clone(&self.registry.snapshot().config);
        let prepared = listeners.prepare(&config)?;
        listeners.commit(&config, prepared).await;
        self.note_bound(&listeners);
        Ok(())
    }

    /// Reads the file again and adopts it, or tells why not.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<Vec<Change>, Refused> {
        let _alone = self.reloading.lock().await;
        let loaded = match &self.path {
            Some(path) => load_aside(path.clone()).await,
            None => Err(Refused::NoFile),
        };
        let adopted = match loaded {
            Ok(config) => self.adopt(config).await,
            Err(refused) => Err(refused),
        };
        if let Err(refused) = &adopted {
            self.registry.refused(refused.lines(), refused.reason());
        }
        adopted
    }

    /// Binds what is new, swaps, closes what is gone. A failure to bind leaves everything as it was.
    pub(crate) async fn adopt(self: &Arc<Self>, config: Config) -> Result<Vec<Change>, Refused> {
        let mut listeners = self.listeners.lock().await;
        if self.draining.load(Relaxed) {
            return Err(Refused::Draining);
        }
        let prepared = listeners.prepare(&config).map_err(Refused::Bind)?;
        let changes = self.registry.apply(config);
        let config = Arc::clone(&self.registry.snapshot().config);
        let gone = listeners.commit(&config, prepared).await;
        self.note_bound(&listeners);
        if !gone.is_empty() {
            self.cut_later(gone, config.grace);
        }
        Ok(changes)
    }

    /// Connections of listeners that are gone get the grace time, no more.
    fn cut_later(self: &Arc<Self>, gone: Vec<ListenerName>, grace: Duration) {
        let connections = Arc::clone(self.registry.connections());
        let removed = std::time::Instant::now();
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            for connection in connections.list() {
                if connection.since <= removed && gone.contains(&connection.listener) {
                    connections.close(connection.id);
                }
            }
        });
    }

    /// Where each listener really listens.
    pub(crate) fn bound(&self) -> Vec<(String, Vec<String>)> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Accepts no more; connections finish.
    pub(crate) async fn drain(&self) {
        let mut listeners = self.listeners.lock().await;
        self.draining.store(true, Relaxed);
        listeners.drain().await;
    }

    /// Cuts what is left.
    pub(crate) async fn cut(&self) {
        self.listeners.lock().await.cut();
    }

    fn note_bound(&self, listeners: &Listeners) {
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = listeners.bound();
    }
}

/// Reads and checks the file on a thread of its own, which gives way: neither the clients nor the admin API shall wait
/// for ten thousand routes to be checked.
async fn load_aside(path: PathBuf) -> Result<Config, Refused> {
    let (sender, loaded) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("load-config".into()).spawn(move || {
        evenkeel_net::give_way();
        let _ = sender.send(load_file(&path));
    });
    let unreadable = |cause: String| Refused::File(format!("cannot read the configuration: {cause}"));
    thread.map_err(|error| unreadable(error.to_string()))?;
    // The thread ends without a word only if it panics, which the panic hook has told.
    let loaded = loaded.await.map_err(|_| unreadable("an internal error; see the log".to_owned()))?;
    loaded.map_err(Refused::from)
}
