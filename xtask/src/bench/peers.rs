//! The proxies that are compared.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{self, Process, Scratch};
use super::rows::Work;
use super::template::{self, Values};
use crate::shell::{self, Outcome};

/// How a program is configured and started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Evenkeel,
    Haproxy,
    Nginx,
    Pen,
}

/// One program to measure.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// What the table calls it.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) version: String,
    program: PathBuf,
    /// What `nginx -V` says; empty for the others.
    build: String,
}

/// A started proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
}

/// Where Debian puts nginx's loadable modules.
const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// Peers that are looked for when none is named.
const KNOWN: [&str; 4] = ["evenkeel", "haproxy", "nginx", "pen"];

impl Kind {
    fn of(name: &str) -> Option<Self> {
        let kinds = [Self::Evenkeel, Self::Haproxy, Self::Nginx, Self::Pen];
        KNOWN.into_iter().zip(kinds).find(|(word, _)| name.starts_with(word)).map(|(_, kind)| kind)
    }

    /// Its configuration first; the others stand beside it.
    fn templates(self) -> &'static [&'static str] {
        match self {
            Self::Evenkeel => &["evenkeel.toml"],
            Self::Haproxy => &["haproxy.conf", "haproxy-routes.map"],
            Self::Nginx => &["nginx.conf"],
            Self::Pen => &["pen.args"],
        }
    }

    /// What makes it adopt a changed configuration.
    pub(super) fn reload_signal(self) -> &'static str {
        if self == Self::Haproxy { "USR2" } else { "HUP" }
    }
}

/// The peers asked for. Evenkeel is built first; a peer that is not installed is left out, and said so.
pub(super) fn find(root: &Path, only: &[String], extra: &[(String, PathBuf)]) -> Outcome<Vec<Peer>> {
    let asked = |name: &str| only.is_empty() || only.iter().any(|n| n == name);
    let given = |name: &str| extra.iter().find(|(n, _)| n == name).map(|(_, path)| path.clone());
    let mut found = Vec::new();
    for name in KNOWN.into_iter().filter(|name| asked(name)) {
        let program = match given(name) {
            Some(program) => Some(program),
            None if name == "evenkeel" => Some(build(root)?),
            None => process::installed(name),
        };
        match program {
            Some(program) => found.push(Peer::new(name, program)?),
            None => println!("{name} is left out: it is not installed"),
        }
    }
    for (name, program) in extra {
        if asked(name) && !found.iter().any(|peer| peer.name == *name) {
            found.push(Peer::new(name, program.clone())?);
        }
    }
    let unknown = only.iter().find(|name| !found.iter().any(|peer| peer.name == **name));
    match unknown {
        Some(name) => Err(format!("there is no peer {name}")),
        None if found.is_empty() => Err("no peer to measure".to_owned()),
        None => Ok(found),
    }
}

fn build(root: &Path) -> Outcome<PathBuf> {
    shell::run(shell::cargo().args(["build", "--release", "--package", "evenkeel"]).current_dir(root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(root.join(target).join("release/evenkeel"))
}

impl Peer {
    fn new(name: &str, program: PathBuf) -> Outcome<Self> {
        let kind = Kind::of(name)
            .ok_or_else(|| format!("peer {name}: a name begins with one of {}", KNOWN.join(", ")))?;
        let version = version(kind, &program)?;
        let build = if kind == Kind::Nginx {
            shell::output(Command::new(&program).arg("-V"))?
        } else {
            String::new()
        };
        Ok(Self { name: name.to_owned(), kind, version, program, build })
    }

    /// Whether this is its trade at all: a relay of bytes is no peer in the rows of HTTP.
    pub(super) fn applies(&self, work: &Work) -> bool {
        work.tcp || self.kind != Kind::Pen
    }

    /// Why this peer cannot do a row's work although others of its kind can.
    pub(super) fn cannot(&self, work: &Work) -> Option<String> {
        let lacks_stream = work.tcp && self.kind == Kind::Nginx && stream_module(&self.build).is_none();
        lacks_stream
            .then(|| "it has no stream module (Debian: apt-get install libnginx-mod-stream)".to_owned())
    }

    /// Writes its configuration.
    pub(super) fn configure(
        &self,
        root: &Path,
        work: &Work,
        origin: SocketAddr,
        scratch: &Scratch,
        address: SocketAddr,
        generation: u64,
    ) -> Outcome {
        let values = self.values(work, origin, &scratch.folder(), address, generation);
        for (number, name) in self.kind.templates().iter().enumerate() {
            let text = template::fill(&read_template(root, name)?, &values)?;
            let file = if number == 0 { self.config_name() } else { (*name).to_owned() };
            scratch.write(&file, text)?;
        }
        Ok(())
    }

    /// Starts it with the configuration written before.
    pub(super) fn launch(&self, work: &Work, scratch: &Scratch, cores: &[usize]) -> Outcome<Process> {
        let config = scratch.path(&self.config_name());
        let path = config.display().to_string();
        let folder = scratch.folder();
        let words: Vec<String> = match self.kind {
            Kind::Pen => pen_words(&fs::read_to_string(&config).map_err(|e| format!("{path}: {e}"))?),
            Kind::Evenkeel => ["run", "-c", &path].map(str::to_owned).to_vec(),
            // Only a master with workers can reload.
            Kind::Haproxy if work.reloads => ["-W", "-db", "-f", &path].map(str::to_owned).to_vec(),
            Kind::Haproxy => ["-db", "-f", &path].map(str::to_owned).to_vec(),
            Kind::Nginx => ["-p", &folder, "-e", "stderr", "-c", &path].map(str::to_owned).to_vec(),
        };
        Process::start(&self.name, cores, scratch, &self.program, words)
    }

    /// Starts Evenkeel with a configuration of another make.
    pub(super) fn launch_with(&self, config: &Path, scratch: &Scratch, cores: &[usize]) -> Outcome<Process> {
        let words = ["run", "-c", &config.display().to_string()].map(str::to_owned);
        Process::start(&self.name, cores, scratch, &self.program, words)
    }

    fn config_name(&self) -> String {
        format!("{}-{}", self.name, self.kind.templates()[0])
    }

    fn values(
        &self,
        work: &Work,
        origin: SocketAddr,
        dir: &str,
        address: SocketAddr,
        generation: u64,
    ) -> Values {
        let modules = if work.tcp { stream_module(&self.build).unwrap_or_default() } else { String::new() };
        let flags = [
            (work.tcp, "tcp"),
            (work.access_log, "log"),
            (work.probes, "probes"),
            (work.routes > 0, "routes"),
            (work.reloads, "reloads"),
            (work.is_bulk(), "bulk"),
        ];
        Values {
            flags: flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).collect(),
            words: vec![
                ("listen", address.to_string()),
                ("dir", dir.to_owned()),
                ("modules", modules),
                ("workers", work.workers.to_string()),
                ("maxconn", work.most_connections.to_string()),
                // Idle connections that may be kept to targets.
                ("idle", work.targets.max(256).to_string()),
                ("generation", generation.to_string()),
            ],
            lists: vec![("target", targets(origin, work.targets)), ("route", routes(work.routes))],
        }
    }
}

/// As many addresses of the loopback network, all with the origin's port.
fn targets(origin: SocketAddr, count: usize) -> Vec<String> {
    if count == 1 {
        return vec![origin.to_string()];
    }
    let address =
        |n: usize| format!("127.{}.{}.{}:{}", 1 + n / 62_500, n / 250 % 250, 1 + n % 250, origin.port());
    (0..count).map(address).collect()
}

/// Path prefixes; the load generators know their form.
fn routes(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("/r{n:05}")).collect()
}

/// One word after the other; lines with `#` are comments.
fn pen_words(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// What it calls itself.
fn version(kind: Kind, program: &Path) -> Outcome<String> {
    if kind == Kind::Pen {
        // It has no option for this.
        let asked = Command::new("dpkg-query").args(["-W", "-f=pen ${Version}", "pen"]).output();
        let known = asked.ok().filter(|done| done.status.success());
        return Ok(
            known.map_or_else(|| "pen".to_owned(), |done| String::from_utf8_lossy(&done.stdout).into_owned())
        );
    }
    let asking = if kind == Kind::Evenkeel { "--version" } else { "-v" };
    Ok(version_line(&shell::output(Command::new(program).arg(asking))?))
}

/// The directive that brings the stream module: none is needed when it is built in. `None`: there is none.
fn stream_module(build: &str) -> Option<String> {
    let options: Vec<&str> = build.split_whitespace().collect();
    if options.contains(&"--with-stream") {
        return Some(String::new());
    }
    let loadable = options.contains(&"--with-stream=dynamic") && Path::new(NGINX_STREAM_MODULE).is_file();
    loadable.then(|| format!("load_module {NGINX_STREAM_MODULE};"))
}

fn version_line(printed: &str) -> String {
    let line = printed.lines().next().unwrap_or_default();
    let line = line.trim_start_matches("nginx version: ").split(" - http").next().unwrap_or_default();
    line.trim().to_owned()
}

fn read_template(root: &Path, name: &str) -> Outcome<String> {
    let path = root.join("bench/peers").join(name);
    fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
impl Peer {
    /// A peer for tests, which is never started.
    pub(super) fn named(name: &str) -> Self {
        let kind = Kind::of(name).expect("a name of a kind");
        Self {
            name: name.to_owned(),
            kind,
            version: "v1".to_owned(),
            program: PathBuf::new(),
            build: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows;

    #[test]
    fn every_row_fills_every_template() {
        let root = shell::workspace_root();
        let (origin, address) = ("127.0.0.1:81".parse().unwrap(), "127.0.0.1:80".parse().unwrap());
        for work in rows::ALL.iter().flat_map(|row| row.variants).map(|variant| variant.work) {
            for peer in KNOWN.map(Peer::named).iter().filter(|peer| peer.applies(&work)) {
                let values = peer.values(&work, origin, "/tmp/x", address, 7);
                for name in peer.kind.templates() {
                    let text = template::fill(&read_template(&root, name).unwrap(), &values).unwrap();
                    assert!(!text.contains("{{") && !text.contains('@'), "{name}: {text}");
                }
            }
        }
    }

    #[test]
    fn targets_are_distinct_addresses_of_one_origin() {
        let origin = "127.0.0.1:81".parse().unwrap();
        assert_eq!(targets(origin, 1), ["127.0.0.1:81"]);
        let many = targets(origin, 10_000);
        assert_eq!((&*many[0], &*many[9999]), ("127.1.0.1:81", "127.1.39.250:81"));
        let distinct: std::collections::BTreeSet<_> = many.iter().collect();
        assert_eq!(distinct.len(), 10_000);
        assert!(many.iter().all(|address| address.parse::<SocketAddr>().unwrap().ip().is_loopback()));
        assert_eq!(routes(2), ["/r00000", "/r00001"]);
    }

    #[test]
    fn pen_is_configured_by_words() {
        assert_eq!(
            pen_words("# why\n-f -r\n127.0.0.1:80 127.0.0.1:81\n"),
            ["-f", "-r", "127.0.0.1:80", "127.0.0.1:81"]
        );
    }

    #[test]
    fn kinds_go_by_the_beginning_of_a_name() {
        assert_eq!(Kind::of("haproxy-3.5"), Some(Kind::Haproxy));
        assert_eq!(Kind::of("evenkeel-old"), Some(Kind::Evenkeel));
        assert_eq!(Kind::of("pen"), Some(Kind::Pen));
        assert_eq!(Kind::of("envoy"), None);
    }

    #[test]
    fn versions_are_one_line() {
        assert_eq!(version_line("nginx version: nginx/1.22.1\n"), "nginx/1.22.1");
        assert_eq!(version_line("HAProxy version 2.6.12-1 2026/10/17 - https://haproxy.org/\nStatus"), {
            "HAProxy version 2.6.12-1 2026/10/17"
        });
    }

    #[test]
    fn nginx_without_stream_is_noticed() {
        assert_eq!(stream_module("--with-http --with-stream"), Some(String::new()));
        assert_eq!(stream_module("--with-stream_ssl_module"), None);
        assert_eq!(stream_module(""), None);
    }
}
