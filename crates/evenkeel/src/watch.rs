//! Reload when the configuration file changes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::logs::tell;
use crate::process::Process;
use crate::source::included_by;

/// A file is often written in several steps; it is read when it has been left alone for so long.
const SETTLED: Duration = Duration::from_millis(200);

/// Starts watching; what cannot be watched is told on standard error, and SIGHUP still works.
pub(crate) fn start(process: &Arc<Process>) {
    let Some(path) = process.path.clone() else { return };
    let (sender, receiver) = mpsc::channel(1);
    let notice = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full means that a reload is due anyway.
            let _ = sender.try_send(());
        }
    };
    match notify::recommended_watcher(notice) {
        Ok(watcher) => {
            let mut watch = Watch { path, watcher, folders: BTreeMap::new() };
            watch.renew();
            tokio::spawn(follow(Arc::clone(process), watch, receiver));
        }
        Err(error) => complain(&path, &error),
    }
}

/// The folders that are watched rather than the files: editors and deployments replace a file by renaming another one
/// over it, and a pattern may find a file tomorrow that it does not find today.
struct Watch {
    path: PathBuf,
    watcher: notify::RecommendedWatcher,
    folders: BTreeMap<PathBuf, Identity>,
}

/// Device and inode: a folder that was replaced by another one of its name has to be watched anew.
type Identity = (u64, u64);

impl Watch {
    /// Watches what there is to watch now.
    fn renew(&mut self) {
        let wanted: BTreeMap<_, _> =
            folders(&self.path).iter().filter_map(|folder| at_hand(folder)).collect();
        let old = std::mem::replace(&mut self.folders, wanted);
        for (folder, _) in
            old.iter().filter(|(folder, identity)| self.folders.get(*folder) != Some(*identity))
        {
            // One that is gone is no longer watched in any case.
            let _ = self.watcher.unwatch(folder);
        }
        for (folder, _) in
            self.folders.iter().filter(|(folder, identity)| old.get(*folder) != Some(*identity))
        {
            if let Err(error) = self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                complain(folder, &error);
            }
        }
    }
}

fn complain(path: &Path, error: &notify::Error) {
    tell(&format!("evenkeel: cannot watch {}: {error}; reload with SIGHUP", path.display()));
}

/// The folder, or the nearest one above it that is there: it will see how the folder comes.
fn at_hand(folder: &Path) -> Option<(PathBuf, Identity)> {
    folder
        .ancestors()
        .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
        .find_map(|folder| {
            let metadata = std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
            Some((folder.to_owned(), (metadata.dev(), metadata.ino())))
        })
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let mut folders = included_by(path).folders;
    folders.push(path.parent().map(Path::to_owned).unwrap_or_default());
    folders
}

async fn follow(process: Arc<Process>, mut watch: Watch, mut changes: mpsc::Receiver<()>) {
    let mut seen = fingerprint(&watch.path);
    while changes.recv().await.is_some() {
        loop {
            tokio::time::sleep(SETTLED).await;
            if changes.try_recv().is_err() {
                break;
            }
        }
        // First, so that what comes while the files are read is not missed.
        watch.renew();
        // Something else in the folder may have changed.
        let now = fingerprint(&watch.path);
        if now != seen {
            seen = now;
            let _ = process.reload().await;
        }
    }
}

/// The texts of the file and of what it includes.
fn fingerprint(path: &Path) -> Vec<Option<Vec<u8>>> {
    let files = std::iter::once(path.to_owned()).chain(included_by(path).files);
    files.map(|file| std::fs::read(file).ok()).collect()
}
