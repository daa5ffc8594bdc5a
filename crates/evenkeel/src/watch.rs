//! Reload when the configuration file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::logs::tell;
use crate::process::Process;

/// A file is often written in several steps; it is read when it has been left alone for so long.
const SETTLED: Duration = Duration::from_millis(200);

/// Starts watching; a file system that cannot be watched is told on standard error, and SIGHUP still works.
pub(crate) fn start(process: &Arc<Process>) {
    let Some(path) = process.path.clone() else { return };
    let (sender, receiver) = mpsc::channel(1);
    let notice = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full means that a reload is due anyway.
            let _ = sender.try_send(());
        }
    };
    let watching = notify::recommended_watcher(notice).and_then(|mut watcher| {
        for folder in folders(&path) {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => {
            tokio::spawn(follow(Arc::clone(process), path, watcher, receiver));
        }
        Err(error) => {
            tell(&format!("evenkeel: cannot watch {}: {error}; reload with SIGHUP", path.display()));
        }
    }
}

/// The folders rather than the files: editors and deployments replace a file by renaming another one over it.
fn folders(path: &Path) -> Vec<PathBuf> {
    let own = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut folders = vec![own.to_owned()];
    for included in crate::source::included_files(path) {
        if let Some(folder) = included.parent()
            && !folders.iter().any(|known| known == folder)
        {
            folders.push(folder.to_owned());
        }
    }
    folders
}

async fn follow(
    process: Arc<Process>,
    path: PathBuf,
    watcher: notify::RecommendedWatcher,
    mut changes: mpsc::Receiver<()>,
) {
    let _watcher = watcher;
    let mut seen = fingerprint(&path);
    while changes.recv().await.is_some() {
        loop {
            tokio::time::sleep(SETTLED).await;
            if changes.try_recv().is_err() {
                break;
            }
        }
        // Something else in the folder may have changed.
        let now = fingerprint(&path);
        if now != seen {
            seen = now;
            let _ = process.reload().await;
        }
    }
}

/// The texts of the file and of what it includes.
fn fingerprint(path: &Path) -> Vec<Option<Vec<u8>>> {
    let files = std::iter::once(path.to_owned()).chain(crate::source::included_files(path));
    files.map(|file| std::fs::read(file).ok()).collect()
}
