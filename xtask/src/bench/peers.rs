//! The proxies that are compared, and the origin behind them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::options::Options;
use super::process::{self, Process, Scratch};
use super::rows::Row;
use super::template;
use crate::shell::{self, Outcome};

/// How a program is configured and started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Evenkeel,
    Haproxy,
    Nginx,
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

/// The started origin.
#[derive(Debug)]
pub(super) struct Origin {
    /// Held to be stopped at the end.
    _process: Process,
    address: SocketAddr,
}

/// Largest body that nginx takes in a directive; its buffer for one is 4 KiB.
const MAX_DIRECTIVE_BODY: usize = 2048;
/// Where Debian puts nginx's loadable modules.
const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// Where distributions put servers, whether or not a user's path names it.
const SERVER_FOLDER: &str = "/usr/sbin";

impl Kind {
    fn of(name: &str) -> Option<Self> {
        let kinds = [("evenkeel", Self::Evenkeel), ("haproxy", Self::Haproxy), ("nginx", Self::Nginx)];
        kinds.into_iter().find(|(word, _)| name.starts_with(word)).map(|(_, kind)| kind)
    }

    fn template(self) -> &'static str {
        match self {
            Self::Evenkeel => "evenkeel.toml",
            Self::Haproxy => "haproxy.conf",
            Self::Nginx => "nginx.conf",
        }
    }

    fn arguments(self, config: &str, folder: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Evenkeel => &["run", "-c", config],
            Self::Haproxy => &["-db", "-f", config],
            Self::Nginx => &["-p", folder, "-e", "stderr", "-c", config],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

/// The peers asked for. Evenkeel is built first; a peer that is not installed is left out, and said so.
pub(super) fn find(root: &Path, options: &Options) -> Outcome<Vec<Peer>> {
    let asked = |name: &str| options.only.is_empty() || options.only.iter().any(|n| n == name);
    let given = |name: &str| options.extra.iter().find(|(n, _)| n == name).map(|(_, path)| path.clone());
    let mut found = Vec::new();
    for name in ["evenkeel", "haproxy", "nginx"].into_iter().filter(|name| asked(name)) {
        let program = match given(name) {
            Some(program) => Some(program),
            None if name == "evenkeel" => Some(build(root)?),
            None => installed(name),
        };
        match program {
            Some(program) => found.push(Peer::new(name, program)?),
            None => println!("{name} is left out: it is not installed"),
        }
    }
    for (name, program) in &options.extra {
        if asked(name) && !found.iter().any(|peer| peer.name == *name) {
            found.push(Peer::new(name, program.clone())?);
        }
    }
    let unknown = options.only.iter().find(|name| !found.iter().any(|peer| peer.name == **name));
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

fn installed(name: &str) -> Option<PathBuf> {
    shell::on_path(name).or_else(|| Some(Path::new(SERVER_FOLDER).join(name)).filter(|file| file.is_file()))
}

impl Peer {
    fn new(name: &str, program: PathBuf) -> Outcome<Self> {
        let kind = Kind::of(name)
            .ok_or_else(|| format!("peer {name}: a name begins with evenkeel, haproxy or nginx"))?;
        let asking = if kind == Kind::Evenkeel { "--version" } else { "-v" };
        let printed = shell::output(Command::new(&program).arg(asking))?;
        let version = version_line(&printed);
        let build = if kind == Kind::Nginx {
            shell::output(Command::new(&program).arg("-V"))?
        } else {
            String::new()
        };
        Ok(Self { name: name.to_owned(), kind, version, program, build })
    }

    /// Why this peer cannot do a row's work.
    pub(super) fn cannot(&self, row: &Row) -> Option<String> {
        let lacks_stream = row.tcp && self.kind == Kind::Nginx && stream_module(&self.build).is_none();
        lacks_stream.then(|| "it has no stream module (libnginx-mod-stream)".to_owned())
    }

    pub(super) fn start(
        &self,
        root: &Path,
        row: &Row,
        origin: &Origin,
        scratch: &Scratch,
        core: usize,
    ) -> Outcome<Proxy> {
        let address = process::free_address()?;
        let folder = scratch.path("").display().to_string();
        let modules = if row.tcp { stream_module(&self.build).unwrap_or_default() } else { String::new() };
        let values = [
            ("listen", address.to_string()),
            ("origin", origin.address.to_string()),
            ("dir", folder.trim_end_matches('/').to_owned()),
            ("modules", modules),
        ];
        let flags: Vec<&str> = [(row.tcp, "tcp"), (row.access_log, "log")]
            .into_iter()
            .filter_map(|(set, flag)| set.then_some(flag))
            .collect();
        let text = template::fill(&read_template(root, self.kind.template())?, &flags, &values)?;
        let config = scratch.write(&format!("{}-{}", self.name, self.kind.template()), text)?;
        let arguments = self.kind.arguments(&config.display().to_string(), &folder);
        let mut process = Process::start(&self.name, core, scratch, &self.program, arguments)?;
        process.accepts(address)?;
        Ok(Proxy { process, address })
    }
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

impl Origin {
    /// Starts the origin with the row's body.
    pub(super) fn start(root: &Path, row: &Row, scratch: &Scratch, core: usize) -> Outcome<Self> {
        let program = installed("nginx").ok_or("the origin is nginx, which is not installed")?;
        if shell::on_path("wrk").is_none() {
            return Err("the load generator is wrk, which is not installed".to_owned());
        }
        let address = process::free_address()?;
        let body = "x".repeat(row.body);
        let in_file = row.body > MAX_DIRECTIVE_BODY;
        if in_file {
            scratch.write("body", &body)?;
        }
        let folder = scratch.path("").display().to_string();
        let values = [
            ("listen", address.to_string()),
            ("dir", folder.trim_end_matches('/').to_owned()),
            ("body", body),
        ];
        let flags: &[&str] = if in_file { &["file"] } else { &[] };
        let text = template::fill(&read_template(root, "origin.conf")?, flags, &values)?;
        let config = scratch.write("origin.conf", text)?.display().to_string();
        let arguments = Kind::Nginx.arguments(&config, &folder);
        let mut process = Process::start("origin", core, scratch, &program, arguments)?;
        process.accepts(address)?;
        Ok(Self { _process: process, address })
    }
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
        let values = ["listen", "origin", "dir", "modules"].map(|name| (name, "x".to_owned()));
        for row in rows::ALL {
            for kind in [Kind::Evenkeel, Kind::Haproxy, Kind::Nginx] {
                let template = read_template(&root, kind.template()).unwrap();
                let flags: &[&str] = if row.tcp { &["tcp"] } else { &[] };
                let text = template::fill(&template, flags, &values).unwrap();
                assert!(!text.contains("{{") && !text.contains('@'), "{}: {text}", kind.template());
            }
        }
    }

    #[test]
    fn kinds_go_by_the_beginning_of_a_name() {
        assert_eq!(Kind::of("haproxy-3.5"), Some(Kind::Haproxy));
        assert_eq!(Kind::of("evenkeel-old"), Some(Kind::Evenkeel));
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
