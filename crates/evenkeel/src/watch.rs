//! Reload when the configuration file changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::logs::tell;
use crate::process::Process;
use crate::source::included_by;

/// A file is often written in several steps; it is read when it has been left alone for so long.
const SETTLED: Duration = Duration::from_millis(200);
/// But after so many times that at the latest: somebody may write something else there all the time.
const MOST_SETTLING: usize = 10;
/// Folders may come while they are looked for, one in the other; more often than this they are not looked for at once.
const MOST_LOOKS: usize = 16;

/// Starts watching; what cannot be watched is told on standard error, and SIGHUP still works.
pub(crate) fn start(process: &Arc<Process>) {
    let Some(path) = process.path.clone() else { return };
    let (sender, receiver) = mpsc::channel(1);
    let folders = Arc::new(Mutex::new(Folders::new()));
    let known = Arc::clone(&folders);
    let notice = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access() && concerns(&lock(&known), &event.paths)) {
            // Full means that a reload is due anyway.
            let _ = sender.try_send(());
        }
    };
    match notify::recommended_watcher(notice) {
        Ok(watcher) => {
            let mut watch = Watch { path, watcher, folders, failed: BTreeSet::new() };
            let seen = watch.renew();
            tokio::spawn(follow(Arc::clone(process), watch, seen, receiver));
        }
        Err(error) => complain(&path, &error),
    }
}

/// The folders that are watched rather than the files: editors and deployments replace a file by renaming another one
/// over it, and a pattern may find a file tomorrow that it does not find today. By real path, since two spellings are
/// one folder to the kernel.
type Folders = BTreeMap<PathBuf, Folder>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Folder {
    /// Device and inode: a folder that was replaced by another one of its name is another one.
    identity: (u64, u64),
    /// Whether files of the configuration may lie there.
    holds_files: bool,
    /// What is to come there, and is looked for in it, if it stands in for a folder that is not there.
    awaited: BTreeSet<OsString>,
}

/// Whether something happened to one of the folders, to a file in one, or to a folder that is awaited. A folder that
/// stands in for a missing one may be as busy as `/tmp`.
fn concerns(folders: &Folders, paths: &[PathBuf]) -> bool {
    let concerns = |path: &PathBuf| {
        let parent = path.parent().and_then(|parent| folders.get(parent));
        let awaits = |folder: &Folder| path.file_name().is_some_and(|name| folder.awaited.contains(name));
        folders.contains_key(path) || parent.is_none_or(|folder| folder.holds_files || awaits(folder))
    };
    paths.is_empty() || paths.iter().any(concerns)
}

struct Watch {
    path: PathBuf,
    watcher: notify::RecommendedWatcher,
    folders: Arc<Mutex<Folders>>,
    /// Those that could not be watched, which is told once.
    failed: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches what there is to watch now, and gives the texts of the file and of what it includes. Last of all, so that
    /// what comes while they are read is not missed.
    fn renew(&mut self) -> Vec<Option<Vec<u8>>> {
        let mut looks = 0;
        loop {
            let included = included_by(&self.path);
            let wanted = wanted(&self.path, included.folders);
            let old = lock(&self.folders).clone();
            self.watch(&old, &wanted);
            let is_settled = old == wanted;
            *lock(&self.folders) = wanted;
            looks += 1;
            if is_settled || looks == MOST_LOOKS {
                let files = std::iter::once(self.path.clone()).chain(included.files);
                return files.map(|file| std::fs::read(file).ok()).collect();
            }
        }
    }

    /// Nothing may be locked meanwhile: the watcher's thread, which does this for us, may be at a notice.
    fn watch(&mut self, old: &Folders, wanted: &Folders) {
        let stays = |path: &PathBuf, was: &Folder| {
            wanted.get(path).is_some_and(|folder| folder.identity == was.identity)
        };
        for (path, _) in old.iter().filter(|(path, was)| !stays(path, was)) {
            // One that is gone is no longer watched in any case.
            let _ = self.watcher.unwatch(path);
        }
        // Each of them every time, which costs nothing if it is watched: one that was removed and made again may look
        // the same, and is not.
        for path in wanted.keys() {
            match self.watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.failed.remove(path);
                }
                Err(error) => {
                    if self.failed.insert(path.clone()) {
                        complain(path, &error);
                    }
                }
            }
        }
    }
}

fn complain(path: &Path, error: &notify::Error) {
    tell(&format!("evenkeel: cannot watch {}: {error}; reload with SIGHUP", path.display()));
}

/// Every operation on it completes or has not begun.
fn lock(folders: &Mutex<Folders>) -> MutexGuard<'_, Folders> {
    folders.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folders of the configuration; in place of one that is not there, the nearest one above it, which will see it come.
fn wanted(path: &Path, included: Vec<PathBuf>) -> Folders {
    let mut wanted = Folders::new();
    let own = path.parent().map(Path::to_owned).unwrap_or_default();
    for folder in included.into_iter().chain([own]) {
        let mut awaited = None;
        for above in folder.ancestors() {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            if let Some((real, identity)) = real(above) {
                let new = || Folder { identity, holds_files: false, awaited: BTreeSet::new() };
                let entry = wanted.entry(real).or_insert_with(new);
                entry.holds_files |= awaited.is_none();
                entry.awaited.extend(awaited);
                break;
            }
            awaited = above.file_name().map(OsString::from);
        }
    }
    wanted
}

fn real(folder: &Path) -> Option<(PathBuf, (u64, u64))> {
    let metadata = std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
    Some((folder.canonicalize().ok()?, (metadata.dev(), metadata.ino())))
}

async fn follow(
    process: Arc<Process>,
    mut watch: Watch,
    mut seen: Vec<Option<Vec<u8>>>,
    mut changes: mpsc::Receiver<()>,
) {
    while changes.recv().await.is_some() {
        for _ in 0..MOST_SETTLING {
            tokio::time::sleep(SETTLED).await;
            if changes.try_recv().is_err() {
                break;
            }
        }
        // Something else in the folder may have changed.
        let now = watch.renew();
        if now != seen {
            seen = now;
            let _ = process.reload().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_testkit::TempDir;

    #[test]
    fn of_a_folder_that_stands_in_only_what_is_awaited_concerns_us() {
        let dir = TempDir::new();
        let base = dir.path().canonicalize().unwrap();
        let (etc, busy) = (base.join("etc"), base.join("busy"));
        std::fs::create_dir(&etc).unwrap();
        std::fs::create_dir(&busy).unwrap();
        let include = format!("include = [\"{}/site/conf.d/*.toml\", \"*.toml\"]\n", busy.display());
        std::fs::write(etc.join("evenkeel.toml"), include).unwrap();
        let path = etc.join("evenkeel.toml");
        let folders = wanted(&path, included_by(&path).folders);
        assert_eq!(folders.keys().collect::<Vec<_>>(), [&busy, &etc]);
        for path in [etc.join("new.toml"), busy.join("site"), etc.clone(), busy.clone()] {
            assert!(concerns(&folders, std::slice::from_ref(&path)), "{}", path.display());
        }
        assert!(!concerns(&folders, &[busy.join("other"), busy.join("more")]));
        assert!(concerns(&folders, &[busy.join("other"), busy.join("site")]));
    }
}
