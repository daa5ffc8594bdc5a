//! The file that holds the process id.

use std::path::{Path, PathBuf};

use crate::screen::cause;

/// Removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

/// Writes our process id; whole or not at all.
pub(crate) fn write(path: &Path) -> Result<PidFile, String> {
    let own = std::process::id();
    let fresh = path.with_extension(format!("{own}.new"));
    let written = std::fs::write(&fresh, format!("{own}\n")).and_then(|()| std::fs::rename(&fresh, path));
    match written {
        Ok(()) => Ok(PidFile(path.to_owned())),
        Err(error) => {
            let _ = std::fs::remove_file(&fresh);
            let (name, cause) = (path.display(), cause(&error));
            Err(format!("cannot write the pid file {name}: {cause}; does its folder exist?"))
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another process may have written its own in the meantime.
        let ours =
            std::fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == std::process::id().to_string());
        if ours {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
