//! The top of the file and its small tables.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use evenkeel_base::BindAddr;
use toml::de::DeValue;

use super::Placed;
use crate::checked::{AccessLog, Admin, LogFormat, Resolver, Secret, SecretFrom, WorkerCount};
use crate::keys::{ADMIN, RESOLVER, SECRET, WORKERS};
use crate::read::{Cx, Item, Reader};

/// A key at the top, or a small table, may be written in one file only.
pub(super) fn written_once(cx: &Cx<'_>, tops: &[Reader<'_>], name: &str) {
    let mut writers = tops.iter().filter(|top| top.has(name));
    let Some(first) = writers.next() else { return };
    for again in writers {
        if name == "include" {
            break;
        }
        let place = again.key_place(name);
        let file = cx.names.borrow().get(first.place.file).cloned().unwrap_or_default();
        cx.problem(&place, format!("`{name}` is written twice"), Some(format!("it is also in {file}")));
    }
    if name == "include" {
        for inner in tops.iter().skip(1).filter(|top| top.has(name)) {
            inner.conflict(name, "an included file cannot include others", "list the files in the main one");
        }
    }
}

/// `[admin]`, or its presets. `None` is `bind = "off"`.
pub(super) fn admin(top: &Reader<'_>) -> Option<Placed<Admin>> {
    let reader = top.table_or_presets("admin", &ADMIN);
    let place = reader.item("bind").map_or_else(|| top.key_place("admin"), |item| item.place);
    let token = reader.item("token").and_then(|item| secret(&reader, &item));
    let is_guarded = reader.has("token");
    let bind = match reader.item("bind") {
        Some(item) if matches!(item.value, DeValue::String(text) if text == "off") => return None,
        Some(item) => item.parse(reader.kind("bind")).unwrap_or_else(loopback),
        None => loopback(),
    };
    let is_local = match &bind {
        BindAddr::Ip(addr) => addr.ip().to_canonical().is_loopback(),
        BindAddr::Any(_) => false,
        BindAddr::Unix(_) => true,
    };
    if !is_local && !is_guarded {
        let advice = "set token = { env = \"EVENKEEL_ADMIN_TOKEN\" }, or bind to 127.0.0.1 or unix:/path";
        reader.conflict("bind", "the admin API would be open to everyone who reaches this address", advice);
    }
    let (token, token_from) = token.unzip();
    let admin = Admin {
        bind,
        token,
        token_from,
        open_metrics: reader.flag("open_metrics"),
        audit_log: reader.plain("audit_log").map(PathBuf::from),
    };
    Some(Placed { value: admin, place })
}

/// The preset of `bind`.
pub(super) fn loopback() -> BindAddr {
    let preset = ADMIN.key("bind").map(|key| key.preset);
    let text = if let Some(crate::keys::Preset::Text(text)) = preset { text } else { "" };
    text.parse().unwrap_or(BindAddr::Ip(SocketAddr::from(([127, 0, 0, 1], 9900))))
}

fn secret(reader: &Reader<'_>, item: &Item<'_>) -> Option<(Secret, SecretFrom)> {
    if let DeValue::String(_) = item.value {
        let advice =
            "keep it elsewhere: token = { env = \"EVENKEEL_ADMIN_TOKEN\" } or token = { file = \"/path\" }";
        item.secret_problem("a secret is not written in the configuration", advice);
        return None;
    }
    let reader = item.table(&SECRET, reader.kind("token"), reader.title_of("token"))?;
    let cx = reader.cx;
    let (value, from) = match (reader.plain("env"), reader.plain("file")) {
        (Some(name), None) => {
            let value = cx.source.env(name);
            if value.is_none() {
                let advice = Some("set it where the process is started".to_owned());
                reader.item("env")?.problem(format!("the environment variable {name} is not set"), advice);
            }
            (value?, SecretFrom::Env(name.to_owned()))
        }
        (None, Some(path)) => {
            let read = cx.source.secret_file(path);
            let value = read.map_err(|error| {
                if let Some(item) = reader.item("file") {
                    item.problem(format!("the secret cannot be read: {error}"), None);
                }
            });
            (value.ok()?, SecretFrom::File(path.into()))
        }
        (None, None) if reader.has("env") || reader.has("file") => return None,
        _ => {
            item.problem("a secret comes from just one place", Some("write either `env` or `file`".into()));
            return None;
        }
    };
    let value = value.trim();
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
        let advice = "use letters, digits and punctuation, at least one";
        item.problem("the secret is empty or has characters that no HTTP field holds", Some(advice.into()));
        return None;
    }
    Some((Secret(value.to_owned()), from))
}

/// `[workers]`.
pub(super) fn workers(top: &Reader<'_>) -> WorkerCount {
    let reader = top.table_or_presets("workers", &WORKERS);
    reader.maybe("count").and_then(NonZeroU16::new).map_or(WorkerCount::Auto, WorkerCount::Fixed)
}

/// `[resolver]`.
pub(super) fn resolver(top: &Reader<'_>) -> Resolver {
    read_resolver(&top.table_or_presets("resolver", &RESOLVER))
}

pub(super) fn read_resolver(reader: &Reader<'_>) -> Resolver {
    let kind = reader.kind("nameservers");
    let servers = reader.entries("nameservers");
    let resolver = Resolver {
        nameservers: servers.iter().filter_map(|item| nameserver(item, item.text(kind)?)).collect(),
        timeout: reader.duration("timeout"),
        min_ttl: reader.duration("min_ttl"),
        max_ttl: reader.duration("max_ttl"),
        max_addresses: reader.count("max_addresses"),
    };
    if resolver.min_ttl > resolver.max_ttl {
        let name = if reader.has("min_ttl") { "min_ttl" } else { "max_ttl" };
        reader.conflict(name, "`min_ttl` is longer than `max_ttl`", "make `min_ttl` at most `max_ttl`");
    }
    resolver
}

fn nameserver(item: &Item<'_>, text: &str) -> Option<SocketAddr> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    let server = bare.or_else(|_| text.parse::<SocketAddr>()).ok().filter(|server| server.port() != 0);
    if server.is_none() {
        let advice = "write an IP address: \"10.0.0.53\", \"10.0.0.53:5353\" or \"[2001:db8::53]:53\"";
        item.problem(format!("{text:?} is not the address of a name server"), Some(advice.into()));
    }
    server
}

/// `[access_log]`.
pub(super) fn access_log(top: &Reader<'_>) -> Option<AccessLog> {
    let reader = top.table("access_log")?;
    let format = match reader.word("format") {
        "text" => LogFormat::Text,
        _ => LogFormat::Json,
    };
    Some(AccessLog { path: reader.plain("path").map(PathBuf::from), format })
}
