//! `[pool.NAME]`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use evenkeel_base::{PoolName, TargetAddr, Weight};
use toml::de::DeValue;

use crate::checked::{Affinity, Check, HealthCheck, Passive, Pool, PoolLimits, Retry, Target};
use crate::keys::{EXPECT, Kind, LIMITS, PASSIVE, RETRY, TARGET};
use crate::read::{Item, Named, Reader};
use crate::units::{Complaint, statuses};

/// Reads one pool.
pub(super) fn read(named: &Named<'_>) -> Option<Pool> {
    let reader = &named.reader;
    let name = PoolName::new(named.name).map_err(|error| {
        reader.cx.problem(&named.place, format!("{:?} cannot be a name: {error}", named.name), None);
    });
    let targets = targets(reader);
    reader.word("protocol");
    let (emergency, source) = (emergency(reader, &targets), source(reader, &targets));
    Some(Pool {
        algorithm: crate::keys::algorithm(reader.word("algorithm")),
        targets,
        emergency,
        source,
        connect_timeout: reader.duration("connect_timeout"),
        keep_alive_timeout: reader.duration("keep_alive_timeout"),
        max_idle: reader.count("max_idle"),
        affinity: affinity(reader),
        health: health(reader),
        passive: passive(reader),
        retry: retry(&reader.table_or_presets("retry", &RETRY)),
        limits: limits(&reader.table_or_presets("limits", &LIMITS)),
        fail_open: reader.flag("fail_open"),
        // A bad name ends the reading only here: every key has been looked at.
        name: name.ok()?,
    })
}

/// What makes two addresses the same target: `::ffff:10.0.0.1` is `10.0.0.1`.
pub(crate) fn address_key(address: &TargetAddr) -> TargetAddr {
    match address {
        TargetAddr::Ip(a) => TargetAddr::Ip(std::net::SocketAddr::new(a.ip().to_canonical(), a.port())),
        other => other.clone(),
    }
}

fn targets(reader: &Reader<'_>) -> Vec<Target> {
    let kind = reader.kind("targets");
    let Some(list) = reader.required("targets") else { return Vec::new() };
    let mut seen: HashMap<TargetAddr, ()> = HashMap::new();
    let mut targets = Vec::new();
    for item in list.entries(kind) {
        let Some(target) = target(reader, &item, kind) else { continue };
        if seen.insert(address_key(&target.address), ()).is_some() {
            let advice = "write it once; give it a weight for a larger share";
            item.problem(format!("the target {} is in this pool twice", target.address), Some(advice.into()));
        }
        targets.push(target);
    }
    targets
}

fn target(reader: &Reader<'_>, item: &Item<'_>, kind: &Kind) -> Option<Target> {
    let Kind::List { of, .. } = kind else { return None };
    match item.value {
        DeValue::Table(_) => {
            let reader = item.table(&TARGET, of, reader.title_of("targets"))?;
            let address = reader.required("address").and_then(|item| item.parse(reader.kind("address")));
            Some(Target {
                weight: Weight::new(reader.count("weight")).unwrap_or(Weight::ONE),
                priority: reader.count("priority"),
                max_connections: reader.maybe("max_connections"),
                address: address?,
            })
        }
        _ => {
            Some(Target { address: item.parse(of)?, weight: Weight::ONE, priority: 0, max_connections: None })
        }
    }
}

fn emergency(reader: &Reader<'_>, targets: &[Target]) -> Option<TargetAddr> {
    let address: TargetAddr = reader.parse("emergency")?;
    if targets.iter().any(|target| address_key(&target.address) == address_key(&address)) {
        let advice = "name another server, or give the target a priority of its own";
        reader.conflict("emergency", format!("the emergency target {address} is one of `targets`"), advice);
    }
    Some(address)
}

fn source(reader: &Reader<'_>, targets: &[Target]) -> Option<IpAddr> {
    let item = reader.item("source")?;
    let text = item.text(reader.kind("source"))?;
    if text == "client" {
        item.problem(
            "`source = \"client\"` is not supported by this version",
            Some("write an address of this machine, or leave `source` out".into()),
        );
        return None;
    }
    let Some(source) = text.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
    else {
        let advice = "write an IP address of this machine, without a port";
        item.problem(format!("{text:?} is not an address to dial from"), Some(advice.into()));
        return None;
    };
    let other_family =
        |target: &&Target| matches!(target.address, TargetAddr::Ip(a) if a.is_ipv4() != source.is_ipv4());
    if let Some(target) = targets.iter().find(other_family) {
        let message = format!("the target {} cannot be dialled from {source}", target.address);
        item.problem(message, Some("source and targets are all IPv4 or all IPv6".into()));
    }
    Some(source)
}

fn affinity(pool: &Reader<'_>) -> Option<Affinity> {
    let reader = pool.table("affinity")?;
    reader.word("by");
    Some(Affinity {
        table_size: reader.count("table_size"),
        ttl: reader.duration("ttl"),
        fail_back: reader.flag("fail_back"),
    })
}

fn health(pool: &Reader<'_>) -> Option<HealthCheck> {
    let reader = pool.table("health")?;
    let check = match reader.word("check") {
        "http" => http_check(&reader),
        _ => {
            for name in ["path", "host", "expect"].into_iter().filter(|name| reader.has(name)) {
                let advice = "write check = \"http\", or leave it out";
                reader.conflict(name, format!("`{name}` is only for check = \"http\""), advice);
            }
            Check::Tcp
        }
    };
    let (interval, timeout) = (reader.duration("interval"), reader.duration("timeout"));
    if timeout > interval {
        let name = if reader.has("timeout") { "timeout" } else { "interval" };
        reader.conflict(
            name,
            "the timeout of a probe is longer than its interval",
            "make `timeout` at most `interval`",
        );
    }
    Some(HealthCheck {
        check,
        port: reader.maybe("port").and_then(NonZeroU16::new),
        interval,
        timeout,
        rise: reader.count("rise"),
        fall: reader.count("fall"),
    })
}

fn http_check(reader: &Reader<'_>) -> Check {
    let path = reader.text("path").unwrap_or("/");
    if !path.starts_with('/') || path.contains('#') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        let advice = "write one such as \"/healthz\", with other characters as %XX";
        reader.conflict("path", format!("{path:?} is not a path to ask for"), advice);
    }
    let host = reader.plain("host");
    if let Some(host) = host.filter(|host| !is_host(host)) {
        reader.conflict(
            "host",
            format!("{host:?} is not a host name"),
            "write one such as \"app.example.com\"",
        );
    }
    let expect = reader.table_or_presets("expect", &EXPECT);
    let body = expect.text("body");
    if body == Some("") {
        expect.conflict("body", "`body` is empty", "leave it out to accept every body");
    }
    Check::Http {
        path: path.into(),
        host: host.map(Into::into),
        status: good_statuses(&expect),
        body: body.map(Into::into),
    }
}

fn is_host(host: &str) -> bool {
    let bytes = host.bytes();
    host != ":" && bytes.into_iter().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

fn good_statuses(expect: &Reader<'_>) -> Vec<(u16, u16)> {
    let kind = expect.kind("status");
    let mut all = Vec::new();
    let item = expect.item("status");
    let texts: Vec<(Option<Item<'_>>, String)> = match &item {
        Some(item) => item.entries(kind).into_iter().filter_map(|entry| status_text(entry, kind)).collect(),
        None => match expect.section.key("status").map(|key| key.preset) {
            Some(crate::keys::Preset::Text(text)) => vec![(None, text.to_owned())],
            _ => Vec::new(),
        },
    };
    if texts.is_empty()
        && item.as_ref().is_some_and(|item| matches!(item.value, DeValue::Array(a) if a.is_empty()))
    {
        expect.conflict("status", "no status would be good", "write at least one, such as \"200\"");
    }
    for (place, text) in texts {
        match statuses(&text) {
            Ok(ranges) => all.extend(ranges),
            Err(complaint) => {
                if let Some(item) = place {
                    item.complain(complaint);
                }
            }
        }
    }
    all
}

/// A bare number is a status, too.
fn status_text<'a>(item: Item<'a>, kind: &Kind) -> Option<(Option<Item<'a>>, String)> {
    let text = match item.value {
        DeValue::Integer(n) => n.to_string(),
        _ => item.text(kind)?.to_owned(),
    };
    Some((Some(item), text))
}

fn passive(pool: &Reader<'_>) -> Option<Passive> {
    match pool.item("passive").map(|item| item.value) {
        Some(DeValue::Boolean(false)) => None,
        None | Some(DeValue::Boolean(true)) => Some(read_passive(&Reader::absent(pool.cx, &PASSIVE))),
        Some(_) => pool.table("passive").map(|reader| {
            let passive = read_passive(&reader);
            if passive.eject_for > passive.max_eject_for {
                let name = if reader.has("eject_for") { "eject_for" } else { "max_eject_for" };
                let advice = "make `eject_for` at most `max_eject_for`";
                reader.conflict(name, "`eject_for` is longer than `max_eject_for`", advice);
            }
            passive
        }),
    }
}

pub(super) fn read_passive(reader: &Reader<'_>) -> Passive {
    Passive {
        connect_errors: reader.count("connect_errors"),
        http_5xx_percent: reader.count("http_5xx_percent"),
        min_requests: reader.count("min_requests"),
        window: reader.duration("window"),
        eject_for: reader.duration("eject_for"),
        max_eject_for: reader.duration("max_eject_for"),
        max_ejected_percent: reader.count("max_ejected_percent"),
    }
}

/// The settings of `[pool.NAME.retry]`.
pub(super) fn retry(reader: &Reader<'_>) -> Retry {
    let mut retry = Retry {
        attempts: reader.count("attempts"),
        on_connect: false,
        on_stale: false,
        on_failure: false,
        on_status: Vec::new(),
        budget_percent: reader.count("budget_percent"),
    };
    if let Some(list) = reader.item("on") {
        for item in list.entries(reader.kind("on")) {
            let Some(word) = item.text(reader.kind("on")) else { continue };
            if let Err(complaint) = retry_on(&mut retry, word) {
                item.complain(complaint);
            }
        }
    } else if let Some(crate::keys::Preset::Texts(words)) = reader.section.key("on").map(|key| key.preset) {
        for word in words {
            // The presets are words that `retry_on` knows; a test reads them.
            let _ = retry_on(&mut retry, word);
        }
    }
    retry
}

fn retry_on(retry: &mut Retry, word: &str) -> Result<(), Complaint> {
    match word {
        "connect" => retry.on_connect = true,
        "stale" => retry.on_stale = true,
        "failure" => retry.on_failure = true,
        word => {
            match word.parse::<u16>() {
                Ok(status @ 400..=599) if word.len() == 3 => {
                    if !retry.on_status.contains(&status) {
                        retry.on_status.push(status);
                    }
                }
                _ => {
                    let near = crate::suggest::nearest(word, ["connect", "stale", "failure"]);
                    let advice = near.map_or_else(
                    || "it may be \"connect\", \"stale\", \"failure\" or a status from \"400\" to \"599\"".to_owned(),
                    |near| format!("did you mean {near:?}?"),
                );
                    return Err(Complaint::new(format!("{word:?} is nothing to retry on"), advice));
                }
            }
        }
    }
    Ok(())
}

/// The settings of `[pool.NAME.limits]`.
pub(super) fn limits(reader: &Reader<'_>) -> PoolLimits {
    PoolLimits {
        connections: reader.maybe("connections"),
        pending: reader.count("pending"),
        queue_timeout: reader.duration("queue_timeout"),
    }
}
