//! What this machine's own files say: `/etc/hosts` and `/etc/resolv.conf`.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::Hosts;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::time::Instant;

/// What the hosts file says is looked up again after this time (within `min_ttl` and `max_ttl`): it has no TTL,
/// and costs no question.
pub const HOSTS_TTL: Duration = Duration::from_secs(5);
/// The files are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Largest file that is read: hosts files that block half of the web have 5 MB.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Whom to ask, and in which domains, when the configuration names no name servers.
#[derive(Debug, Clone)]
pub(crate) struct Resolv {
    pub(crate) config: ResolverConfig,
    /// Names with fewer dots than this are looked for in the search domains first.
    pub(crate) ndots: usize,
}

/// The files as they were read last.
#[derive(Debug)]
pub(crate) struct System {
    hosts_file: Watched,
    resolv_file: Watched,
    looked: Option<Instant>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) resolv: Resolv,
}

impl System {
    /// Reads nothing yet; see [`System::refresh`].
    pub(crate) fn new() -> Self {
        Self::of("/etc/hosts".into(), "/etc/resolv.conf".into())
    }

    /// These files instead.
    pub(crate) fn of(hosts: PathBuf, resolv: PathBuf) -> Self {
        Self {
            hosts_file: Watched { path: hosts, stamp: None },
            resolv_file: Watched { path: resolv, stamp: None },
            looked: None,
            hosts: Arc::default(),
            resolv: resolv_conf(b""),
        }
    }

    /// Reads what has changed since the last time. Whether anything has.
    pub(crate) fn refresh(&mut self, now: Instant) -> bool {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK_EVERY) {
            return false;
        }
        self.looked = Some(now);
        let hosts = self.hosts_file.changed();
        let resolv = self.resolv_file.changed();
        let is_changed = hosts.is_some() || resolv.is_some();
        if let Some(text) = hosts {
            let mut read = Hosts::default();
            // It ends at the first line that is not UTF-8; what stands before that line counts.
            let _ = read.read_hosts_conf(text.as_slice());
            self.hosts = Arc::new(read);
        }
        if let Some(text) = resolv {
            self.resolv = resolv_conf(&text);
        }
        is_changed
    }
}

/// Without a name server in the file, or without the file, it is the one on this machine (resolv.conf(5)).
fn resolv_conf(text: &[u8]) -> Resolv {
    let (config, options) = parse_resolv_conf(text).unwrap_or_else(|_| {
        let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
    });
    Resolv { config, ndots: options.ndots }
}

/// A file, and what tells that it is another one.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    stamp: Option<Stamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Watched {
    /// Its content, if that may be new. A file that is missing or cannot be read keeps what was read before: it
    /// may be in the middle of being replaced.
    fn changed(&mut self) -> Option<Vec<u8>> {
        let file = File::open(&self.path).ok()?;
        let about = file.metadata().ok()?;
        let stamp =
            Stamp { inode: about.ino(), bytes: about.len(), modified: (about.mtime(), about.mtime_nsec()) };
        if self.stamp == Some(stamp) {
            return None;
        }
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut text).ok()?;
        self.stamp = Some(stamp);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::{Name, RecordType};

    fn knows(system: &System, host: &str) -> bool {
        let name = Name::from_ascii(host).unwrap();
        system.hosts.lookup_static_host(&Query::query(name, RecordType::A)).is_some()
    }

    #[test]
    fn files_are_read_again_when_they_change_and_kept_when_they_vanish() {
        let directory = std::env::temp_dir().join(format!("evenkeel-discover-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (hosts, resolv) = (directory.join("hosts"), directory.join("resolv.conf"));
        std::fs::write(&hosts, "10.0.0.1 one # first\nnonsense\n\n10.0.0.2 Two two.test\n").unwrap();
        let mut system = System::of(hosts.clone(), resolv.clone());
        let now = Instant::now();
        assert!(system.refresh(now));
        assert!(knows(&system, "one") && knows(&system, "two") && !knows(&system, "three"));
        // No resolv.conf: the name server of this machine.
        assert!(system.resolv.config.name_servers()[0].ip.is_loopback());

        std::fs::write(&hosts, "10.0.0.3 three\n").unwrap();
        std::fs::write(&resolv, "nameserver 192.0.2.53\nsearch corp.test\noptions ndots:3\n").unwrap();
        assert!(!system.refresh(now + LOOK_EVERY / 2), "not that often");
        assert!(system.refresh(now + LOOK_EVERY));
        assert!(knows(&system, "three") && !knows(&system, "one"));
        assert_eq!(system.resolv.config.name_servers()[0].ip.to_string(), "192.0.2.53");
        assert_eq!(system.resolv.ndots, 3);
        assert!(!system.refresh(now + LOOK_EVERY * 2), "nothing changed");

        std::fs::remove_dir_all(&directory).unwrap();
        assert!(!system.refresh(now + LOOK_EVERY * 3));
        assert!(knows(&system, "three"));
    }

    #[test]
    fn any_bytes_are_a_resolv_conf() {
        for text in [&b"\xff\xfe\0garbage"[..], b"nameserver nobody\n", b"search \n", b"options ndots:x\n"] {
            assert_eq!(resolv_conf(text).config.name_servers().len(), 1);
        }
    }
}
