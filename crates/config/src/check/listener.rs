//! `[listener.NAME]`.

use std::net::IpAddr;

use evenkeel_base::{AddrError, BindAddr, ListenerName, PoolName, TargetAddr};
use ipnet::IpNet;

use super::route;
use super::{Place, PoolUse};
use crate::checked::{AccessList, HttpSettings, Listener, Protocol};
use crate::keys::{HTTP, Kind, TIMEOUTS};
use crate::read::{Item, Named, Reader};
use crate::units::Complaint;

/// An address with the listener that has it.
pub(super) struct Bind {
    pub(super) address: BindAddr,
    pub(super) owner: String,
    pub(super) place: Place,
}

/// Reads one listener; pools it names and addresses it takes are noted for the checks across the file.
pub(super) fn read(named: &Named<'_>, uses: &mut Vec<PoolUse>, binds: &mut Vec<Bind>) -> Option<Listener> {
    let reader = &named.reader;
    let name = ListenerName::new(named.name).map_err(|error| {
        reader.cx.problem(&named.place, format!("{:?} cannot be a name: {error}", named.name), None);
    });
    let protocol = match reader.word("protocol") {
        "http" => Some(Protocol::Http),
        "tcp" => Some(Protocol::Tcp),
        _ => None,
    };
    match protocol {
        Some(Protocol::Tcp) => {
            refuse_http_only(reader);
            if !reader.has("pool") {
                missing_pool(named, "a TCP listener needs a `pool`");
            }
        }
        Some(Protocol::Http) if !reader.has("pool") && !reader.has("route") => {
            missing_pool(named, "this listener leads nowhere");
        }
        _ => {}
    }
    let bind = addresses(named, binds);
    let pool = pool_name(reader, uses);
    let routes = route::read(reader, uses);
    let allow = networks(reader, "allow");
    let access = AccessList { deny: networks(reader, "deny"), allow: reader.has("allow").then_some(allow) };
    let idle = reader.duration("idle_timeout");
    let (max_connections, backlog) = (reader.count("max_connections"), reader.count("backlog"));
    let http = http(reader);
    // Only now may a missing part end the reading: every key has been looked at.
    Some(Listener {
        name: name.ok()?,
        protocol: protocol?,
        bind,
        pool,
        routes,
        access,
        max_connections,
        backlog,
        idle_timeout: (!idle.is_zero()).then_some(idle),
        http,
    })
}

fn missing_pool(named: &Named<'_>, message: &str) {
    let advice = "add pool = \"NAME\", and a [pool.NAME] with its targets";
    named.reader.cx.problem(&named.place, message, Some(advice.into()));
}

fn refuse_http_only(reader: &Reader<'_>) {
    for key in ["http", "timeouts", "route"] {
        if reader.has(key) {
            let advice = "write protocol = \"http\", or leave it out";
            reader.conflict(key, format!("`{key}` is only for protocol = \"http\""), advice);
        }
    }
}

fn addresses(named: &Named<'_>, binds: &mut Vec<Bind>) -> Vec<BindAddr> {
    let reader = &named.reader;
    let kind = reader.kind("bind");
    let Some(item) = reader.required("bind") else { return Vec::new() };
    let entries = item.entries(kind);
    if entries.is_empty() && matches!(item.value, toml::de::DeValue::Array(_)) {
        item.problem("`bind` is empty", Some("write at least one address, such as \":80\"".into()));
    }
    let mut all = Vec::new();
    for entry in entries {
        if let Some(address) = address(&entry, kind) {
            binds.push(Bind { address: address.clone(), owner: named.name.to_owned(), place: entry.place });
            all.push(address);
        }
    }
    all
}

fn address(item: &Item<'_>, kind: &Kind) -> Option<BindAddr> {
    let text = item.text(kind)?;
    match text.parse::<BindAddr>() {
        Ok(address) => return Some(address),
        Err(AddrError::Host(host)) if text.parse::<TargetAddr>().is_ok() => {
            let port = text.rsplit_once(':').map_or("", |(_, port)| port);
            let advice = format!("write an IP address of this machine, or \":{port}\" for all of them");
            item.problem(format!("{host:?} is a name; a listener needs an address"), Some(advice));
        }
        Err(error) => item.problem(error.to_string(), None),
    }
    None
}

/// The pool that a listener or a route names.
pub(super) fn pool_name(reader: &Reader<'_>, uses: &mut Vec<PoolUse>) -> Option<PoolName> {
    let item = reader.item("pool")?;
    let text = item.text(reader.kind("pool"))?;
    match PoolName::new(text) {
        Ok(name) => {
            uses.push(PoolUse { name: text.to_owned(), place: item.place });
            Some(name)
        }
        Err(error) => {
            item.problem(format!("{text:?} cannot be a name: {error}"), None);
            None
        }
    }
}

/// The networks of a list.
pub(super) fn networks(reader: &Reader<'_>, name: &str) -> Vec<IpNet> {
    reader.entries(name).iter().filter_map(|item| network(item, reader.kind(name))).collect()
}

fn network(item: &Item<'_>, kind: &Kind) -> Option<IpNet> {
    let text = item.text(kind)?;
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let complaint = match parsed {
        None => Complaint::new(
            format!("{text:?} is not a network"),
            "write an address and a prefix length: \"10.0.0.0/8\" or \"2001:db8::/32\"; or an address alone",
        ),
        Some(net) if net.trunc() != net => Complaint::new(
            format!("{text:?} has bits beyond its prefix"),
            format!("write \"{}\" for the network, or \"{}\" for the one address", net.trunc(), net.addr()),
        ),
        Some(IpNet::V6(net)) if net.addr().to_ipv4_mapped().is_some() => Complaint::new(
            format!("{text:?} matches nobody"),
            "IPv4 clients are seen with their IPv4 address: write the IPv4 network",
        ),
        Some(net) => return Some(net),
    };
    item.complain(complaint);
    None
}

/// `[listener.NAME.http]` and `[listener.NAME.timeouts]`, or their presets.
fn http(reader: &Reader<'_>) -> HttpSettings {
    let limits = reader.table_or_presets("http", &HTTP);
    let timeouts = reader.table_or_presets("timeouts", &TIMEOUTS);
    let settings = read_http(&limits, &timeouts);
    // A preset that is larger than a lowered `max_head_bytes` is harmless: the head's limit is met first.
    if limits.has("max_target_bytes") && settings.max_target_bytes >= settings.max_head_bytes {
        let advice = "make `max_target_bytes` smaller than `max_head_bytes`: the target is part of the head";
        limits.conflict(
            "max_target_bytes",
            "`max_target_bytes` is not smaller than `max_head_bytes`",
            advice,
        );
    }
    settings
}

/// The settings of two tables.
pub(super) fn read_http(limits: &Reader<'_>, timeouts: &Reader<'_>) -> HttpSettings {
    HttpSettings {
        max_head_bytes: limits.count("max_head_bytes"),
        max_headers: limits.count("max_headers"),
        max_target_bytes: limits.count("max_target_bytes"),
        max_body_bytes: limits.maybe("max_body_bytes"),
        header_timeout: timeouts.duration("header"),
        body_timeout: timeouts.duration("body"),
        response_timeout: timeouts.duration("response"),
        write_timeout: timeouts.duration("write"),
        keep_alive_timeout: timeouts.duration("keep_alive"),
        trust_forwarded: limits.flag("trust_forwarded"),
    }
}
