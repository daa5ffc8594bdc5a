//! `[[listener.NAME.route]]`.

use std::collections::HashSet;

use evenkeel_route::When;

use super::PoolUse;
use super::listener::{networks, pool_name};
use crate::checked::{Action, Route};
use crate::keys::WHEN;
use crate::limits::MAX_ENTRIES;
use crate::read::{Item, Reader};

const ACTIONS: [&str; 3] = ["pool", "respond", "redirect"];

/// The routes of a listener.
pub(super) fn read(listener: &Reader<'_>, uses: &mut Vec<PoolUse>) -> Vec<Route> {
    let mut seen = HashSet::new();
    let mut routes = Vec::new();
    for reader in listener.tables("route") {
        let problems = reader.cx.count();
        let when = when(&reader.table_or_presets("when", &WHEN));
        // Two routes with the same conditions: order decides, and the second is never reached.
        let is_sure = reader.cx.count() == problems;
        if is_sure && !seen.insert(format!("{when:?}")) {
            let advice = "remove it, or give it another condition";
            let message = "this route is never reached: one before it has the same conditions";
            reader.cx.problem(&reader.place, message, Some(advice.into()));
        }
        if let Some(action) = action(&reader, uses) {
            routes.push(Route { when, action });
        }
    }
    routes
}

fn action(reader: &Reader<'_>, uses: &mut Vec<PoolUse>) -> Option<Action> {
    let written: Vec<&str> = ACTIONS.into_iter().filter(|name| reader.has(name)).collect();
    match written[..] {
        ["pool"] => pool_name(reader, uses).map(Action::Pool),
        ["respond"] => respond(&reader.table("respond")?),
        ["redirect"] => redirect(&reader.table("redirect")?),
        // `split` is an action too, and reported as not supported.
        [] if reader.has("split") => None,
        [] => {
            let advice = Some("add one of `pool`, `respond` or `redirect`".to_owned());
            reader.cx.problem(&reader.place, "this route does nothing", advice);
            None
        }
        [.., last] => {
            reader.conflict(
                last,
                format!("a route does one thing, not {}", written.join(" and ")),
                "keep one of them",
            );
            None
        }
    }
}

fn respond(reader: &Reader<'_>) -> Option<Action> {
    reader.required("status")?;
    let status: u16 = reader.count("status");
    let body = reader.text("body").unwrap_or_default();
    if !body.is_empty() && matches!(status, 204 | 205 | 304) {
        reader.conflict("body", format!("an answer of status {status} has no body"), "leave `body` out");
    }
    Some(Action::Respond { status, body: body.into() })
}

fn redirect(reader: &Reader<'_>) -> Option<Action> {
    let item = reader.required("to")?;
    let status: u16 = reader.count("status");
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        let advice = "use 301 or 308 (for good), 302, 303 or 307 (for now)";
        reader.conflict("status", format!("{status} is not a redirection"), advice);
    }
    let to = reader.text("to")?;
    let is_absolute =
        ["http://", "https://"].iter().any(|scheme| to.starts_with(scheme) && to.len() > scheme.len());
    let is_path = to.starts_with('/') && !to.starts_with("//");
    if !(is_absolute || is_path) || !to.bytes().all(|b| b.is_ascii_graphic()) {
        let advice = "write \"https://host/path\" or \"/path\", with other characters as %XX";
        item.problem(format!("{to:?} is not somewhere to redirect to"), Some(advice.into()));
        return None;
    }
    Some(Action::Redirect { to: to.into(), status })
}

fn when(reader: &Reader<'_>) -> When {
    When {
        host: reader.parse("host"),
        path: reader.parse("path"),
        methods: methods(reader),
        headers: fields(reader, "header", |name| {
            let is_name = !name.is_empty() && name.bytes().all(is_token);
            is_name.then(|| name.to_ascii_lowercase())
        }),
        query: fields(reader, "query", |name| (!name.is_empty()).then(|| name.to_owned())),
        from: networks(reader, "from").iter().map(|net| (net.addr(), net.prefix_len())).collect(),
    }
}

fn methods(reader: &Reader<'_>) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    for item in reader.entries("method") {
        let Some(text) = item.text(reader.kind("method")) else { continue };
        if text.is_empty() || text.len() > 32 || !text.bytes().all(is_token) {
            item.problem(
                format!("{text:?} is not a method"),
                Some("write one such as \"GET\" or \"POST\"".into()),
            );
        } else if text.bytes().any(|b| b.is_ascii_lowercase()) {
            let advice = format!("methods are compared exactly: write {:?}", text.to_ascii_uppercase());
            item.problem(format!("{text:?} matches no usual method"), Some(advice));
        } else if !methods.iter().any(|known| known == text) {
            methods.push(text.to_owned());
        }
    }
    methods
}

/// The pairs of a map; `name_of` gives the name its compared form, or refuses it.
fn fields(reader: &Reader<'_>, key: &str, name_of: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let pairs = reader.map(key);
    if pairs.len() > MAX_ENTRIES {
        reader.conflict(
            key,
            format!("`{key}` has {} entries", pairs.len()),
            format!("it has at most {MAX_ENTRIES}"),
        );
    }
    pairs.into_iter().filter_map(|(name, item)| pair(key, name, &item, &name_of)).collect()
}

fn pair(
    key: &str,
    name: &str,
    item: &Item<'_>,
    name_of: impl Fn(&str) -> Option<String>,
) -> Option<(String, String)> {
    let toml::de::DeValue::String(value) = item.value else {
        item.problem(format!("the value of {name:?} must be a string"), Some("write it in quotes".into()));
        return None;
    };
    let Some(name) = name_of(name) else {
        item.problem(format!("{name:?} cannot be the name of a {key}"), None);
        return None;
    };
    if value.len() > 4_096
        || key == "header" && (value.trim() != value || value.chars().any(char::is_control))
    {
        let advice = "a field's value has no control characters, and no spaces around it";
        item.problem(format!("no {key} has this value"), Some(advice.into()));
        return None;
    }
    Some((name, value.to_string()))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
