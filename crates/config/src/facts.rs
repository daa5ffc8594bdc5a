//! A checked configuration told again, key by key: what `print` writes and `diff` compares.

use std::time::Duration;

use evenkeel_base::Weight;
use evenkeel_route::When;

use crate::checked::{
    AccessLog, Action, Admin, Check, Config, HealthCheck, Listener, LogFormat, Passive, Pool, Protocol,
    Route, SecretFrom, Target, WorkerCount,
};
use crate::keys::{
    ACCESS_LOG, ADMIN, AFFINITY, EXPECT, HEALTH, HTTP, LIMITS, LISTENER, PASSIVE, POOL, Preset, REDIRECT,
    RESOLVER, RESPOND, RETRY, ROUTE, SECRET, Section, TARGET, TIMEOUTS, TOP, WHEN, WORKERS,
};
use crate::units::{duration, duration_text, size, size_text, statuses_text};

/// A value as TOML has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    /// A number or a boolean.
    Plain(String),
    List(Vec<Self>),
    /// `{ a = 1, b = 2 }`.
    Table(Vec<(String, Self)>),
}

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) key: &'static str,
    pub(crate) value: Value,
    /// The value is what it would be if nothing were written.
    pub(crate) is_preset: bool,
}

/// The facts of one table.
#[derive(Debug)]
pub(crate) struct Block {
    section: &'static Section,
    /// Of the header, `["pool", "app", "health"]`; empty for the top.
    pub(crate) path: Vec<String>,
    pub(crate) facts: Vec<Fact>,
    /// `[[…]]`.
    pub(crate) is_entry: bool,
    /// The table means something even when all its keys have their presets.
    pub(crate) is_telling: bool,
}

impl Block {
    fn new(section: &'static Section, path: &[&str]) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        Self { section, path, facts: Vec::new(), is_entry: false, is_telling: false }
    }

    fn telling(mut self) -> Self {
        self.is_telling = true;
        self
    }

    fn push(&mut self, key: &'static str, value: Value, is_preset: bool) {
        self.facts.push(Fact { key, value, is_preset });
    }

    fn preset(&self, key: &str) -> Preset {
        self.section.key(key).map_or(Preset::Absent, |key| key.preset)
    }

    fn flag(&mut self, key: &'static str, value: bool) {
        let is_preset = self.preset(key) == Preset::Flag(value);
        self.push(key, Value::Plain(value.to_string()), is_preset);
    }

    fn count(&mut self, key: &'static str, value: impl Into<u64>) {
        let value = value.into();
        let is_preset = self.preset(key) == Preset::Count(value);
        self.push(key, Value::Plain(value.to_string()), is_preset);
    }

    fn maybe_count(&mut self, key: &'static str, value: Option<impl Into<u64>>) {
        if let Some(value) = value {
            self.count(key, value);
        }
    }

    fn duration(&mut self, key: &'static str, value: Duration) {
        let is_preset = matches!(self.preset(key), Preset::Text(text) if duration(text) == Ok(value));
        self.push(key, Value::Text(duration_text(value)), is_preset);
    }

    fn size(&mut self, key: &'static str, value: impl Into<u64>) {
        let value = value.into();
        let is_preset = matches!(self.preset(key), Preset::Text(text) if size(text) == Ok(value));
        self.push(key, Value::Text(size_text(value)), is_preset);
    }

    fn text(&mut self, key: &'static str, value: &(impl ToString + ?Sized)) {
        let value = value.to_string();
        let is_preset = matches!(self.preset(key), Preset::Text(text) if text == value);
        self.push(key, Value::Text(value), is_preset);
    }

    fn maybe_text(&mut self, key: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.text(key, &value);
        }
    }

    /// A list that is left out when it is empty.
    fn texts(&mut self, key: &'static str, values: impl IntoIterator<Item = impl ToString>) {
        let values: Vec<Value> = values.into_iter().map(|value| Value::Text(value.to_string())).collect();
        let is_empty = values.is_empty();
        self.push(key, Value::List(values), is_empty);
    }

    fn table(self) -> Value {
        let written = self.facts.into_iter().filter(|fact| !fact.is_preset);
        Value::Table(written.map(|fact| (fact.key.to_owned(), fact.value)).collect())
    }
}

/// The top of the file and its small tables.
pub(crate) fn top(config: &Config) -> Vec<Block> {
    let mut top = Block::new(&TOP, &[]);
    top.flag("watch", config.watch);
    top.duration("grace", config.grace);
    top.maybe_text("pid_file", config.pid_file.as_ref().map(|path| path.display()));

    let mut workers = Block::new(&WORKERS, &["workers"]);
    match config.workers {
        WorkerCount::Auto => workers.text("count", "auto"),
        WorkerCount::Fixed(count) => workers.count("count", count.get()),
    }
    let mut resolver = Block::new(&RESOLVER, &["resolver"]);
    let known = &config.resolver;
    resolver.texts("nameservers", &known.nameservers);
    resolver.duration("timeout", known.timeout);
    resolver.duration("min_ttl", known.min_ttl);
    resolver.duration("max_ttl", known.max_ttl);
    resolver.count("max_addresses", known.max_addresses);

    let mut blocks = vec![top, admin(config.admin.as_ref()), workers, resolver];
    blocks.extend(config.access_log.as_ref().map(access_log));
    blocks
}

fn admin(admin: Option<&Admin>) -> Block {
    let mut block = Block::new(&ADMIN, &["admin"]);
    let Some(admin) = admin else {
        block.text("bind", "off");
        return block;
    };
    block.text("bind", &admin.bind);
    if let Some(from) = &admin.token_from {
        let mut secret = Block::new(&SECRET, &[]);
        match from {
            SecretFrom::Env(name) => secret.text("env", name),
            SecretFrom::File(path) => secret.text("file", &path.display()),
        }
        block.push("token", secret.table(), false);
    }
    block.flag("open_metrics", admin.open_metrics);
    block.maybe_text("audit_log", admin.audit_log.as_ref().map(|path| path.display()));
    block
}

fn access_log(log: &AccessLog) -> Block {
    let mut block = Block::new(&ACCESS_LOG, &["access_log"]).telling();
    block.maybe_text("path", log.path.as_ref().map(|path| path.display()));
    block.text("format", if log.format == LogFormat::Text { "text" } else { "json" });
    block
}

/// A listener: its own table, then `http` and `timeouts`. Routes are apart, in [`route`].
pub(crate) fn listener(listener: &Listener) -> Vec<Block> {
    let name = listener.name.as_str();
    let mut block = Block::new(&LISTENER, &["listener", name]).telling();
    block.push(
        "bind",
        Value::List(listener.bind.iter().map(|b| Value::Text(b.to_string())).collect()),
        false,
    );
    block.text("protocol", protocol(listener.protocol));
    block.maybe_text("pool", listener.pool.as_ref());
    if let Some(allow) = &listener.access.allow {
        block.push(
            "allow",
            Value::List(allow.iter().map(|net| Value::Text(net.to_string())).collect()),
            false,
        );
    }
    block.texts("deny", &listener.access.deny);
    block.count("max_connections", listener.max_connections);
    block.count("backlog", listener.backlog);
    block.duration("idle_timeout", listener.idle_timeout.unwrap_or_default());
    if listener.protocol == Protocol::Tcp {
        return vec![block];
    }
    let settings = &listener.http;
    let mut http = Block::new(&HTTP, &["listener", name, "http"]);
    http.size("max_head_bytes", settings.max_head_bytes);
    http.count("max_headers", settings.max_headers);
    http.size("max_target_bytes", settings.max_target_bytes);
    match settings.max_body_bytes {
        Some(bytes) => http.size("max_body_bytes", bytes),
        None => http.text("max_body_bytes", "unlimited"),
    }
    http.flag("trust_forwarded", settings.trust_forwarded);
    let mut timeouts = Block::new(&TIMEOUTS, &["listener", name, "timeouts"]);
    timeouts.duration("header", settings.header_timeout);
    timeouts.duration("body", settings.body_timeout);
    timeouts.duration("response", settings.response_timeout);
    timeouts.duration("write", settings.write_timeout);
    timeouts.duration("keep_alive", settings.keep_alive_timeout);
    vec![block, http, timeouts]
}

/// The word for a protocol.
pub(crate) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Http => "http",
    }
}

/// One route of the listener `name`.
pub(crate) fn route(name: &str, route: &Route) -> Block {
    let mut block = Block::new(&ROUTE, &["listener", name, "route"]).telling();
    block.is_entry = true;
    let conditions = when(&route.when);
    let is_empty = matches!(&conditions, Value::Table(pairs) if pairs.is_empty());
    block.push("when", conditions, is_empty);
    match &route.action {
        Action::Pool(pool) => block.text("pool", pool),
        Action::Respond { status, body } => {
            let mut respond = Block::new(&RESPOND, &[]);
            respond.count("status", *status);
            respond.text("body", body);
            block.push("respond", respond.table(), false);
        }
        Action::Redirect { to, status } => {
            let mut redirect = Block::new(&REDIRECT, &[]);
            redirect.text("to", to);
            redirect.count("status", *status);
            block.push("redirect", redirect.table(), false);
        }
    }
    block
}

fn when(when: &When) -> Value {
    let mut block = Block::new(&WHEN, &[]);
    block.maybe_text("host", when.host.as_ref());
    block.maybe_text("path", when.path.as_ref());
    block.texts("method", &when.methods);
    for (key, pairs) in [("header", &when.headers), ("query", &when.query)] {
        let table = pairs.iter().map(|(name, value)| (name.clone(), Value::Text(value.clone()))).collect();
        block.push(key, Value::Table(table), pairs.is_empty());
    }
    block.texts("from", when.from.iter().map(|(ip, prefix)| format!("{ip}/{prefix}")));
    block.table()
}

/// A pool: its own table, then those within it. Targets are apart, in [`target`].
pub(crate) fn pool(pool: &Pool) -> Vec<Block> {
    let name = pool.name.as_str();
    let mut block = Block::new(&POOL, &["pool", name]).telling();
    block.text("algorithm", pool.algorithm.as_str());
    block.maybe_text("emergency", pool.emergency.as_ref());
    block.maybe_text("source", pool.source);
    block.duration("connect_timeout", pool.connect_timeout);
    block.duration("keep_alive_timeout", pool.keep_alive_timeout);
    block.count("max_idle", pool.max_idle);
    block.flag("fail_open", pool.fail_open);
    if pool.passive.is_none() {
        block.flag("passive", false);
    }
    let mut blocks = vec![block];
    if let Some(known) = &pool.affinity {
        let mut affinity = Block::new(&AFFINITY, &["pool", name, "affinity"]).telling();
        affinity.count("table_size", known.table_size);
        affinity.duration("ttl", known.ttl);
        affinity.flag("fail_back", known.fail_back);
        blocks.push(affinity);
    }
    blocks.extend(pool.health.as_ref().map(|known| health(name, known)));
    blocks.extend(pool.passive.as_ref().map(|known| passive(name, known)));
    let mut retry = Block::new(&RETRY, &["pool", name, "retry"]);
    retry.count("attempts", pool.retry.attempts);
    let words = retry_words(pool);
    let is_preset = matches!(retry.preset("on"), Preset::Texts(texts) if texts.iter().eq(words.iter()));
    retry.push("on", Value::List(words.into_iter().map(Value::Text).collect()), is_preset);
    retry.count("budget_percent", pool.retry.budget_percent);
    let mut limits = Block::new(&LIMITS, &["pool", name, "limits"]);
    limits.maybe_count("connections", pool.limits.connections);
    limits.count("pending", pool.limits.pending);
    limits.duration("queue_timeout", pool.limits.queue_timeout);
    blocks.extend([retry, limits]);
    blocks
}

fn retry_words(pool: &Pool) -> Vec<String> {
    let retry = &pool.retry;
    let kinds = [("connect", retry.on_connect), ("stale", retry.on_stale), ("failure", retry.on_failure)];
    let kinds = kinds.into_iter().filter(|(_, is_on)| *is_on).map(|(word, _)| word.to_owned());
    kinds.chain(retry.on_status.iter().map(u16::to_string)).collect()
}

fn health(pool: &str, health: &HealthCheck) -> Block {
    let mut block = Block::new(&HEALTH, &["pool", pool, "health"]).telling();
    match &health.check {
        Check::Tcp => block.text("check", "tcp"),
        Check::Http { path, host, status, body } => {
            block.text("check", "http");
            block.text("path", path);
            block.maybe_text("host", host.as_ref());
            let mut expect = Block::new(&EXPECT, &[]);
            expect.text("status", &statuses_text(status));
            expect.maybe_text("body", body.as_ref());
            let is_preset = expect.facts.iter().all(|fact| fact.is_preset);
            block.push("expect", expect.table(), is_preset);
        }
    }
    block.maybe_count("port", health.port.map(std::num::NonZeroU16::get));
    block.duration("interval", health.interval);
    block.duration("timeout", health.timeout);
    block.count("rise", health.rise);
    block.count("fall", health.fall);
    block
}

fn passive(pool: &str, passive: &Passive) -> Block {
    let mut block = Block::new(&PASSIVE, &["pool", pool, "passive"]);
    block.count("connect_errors", passive.connect_errors);
    block.count("http_5xx_percent", passive.http_5xx_percent);
    block.count("min_requests", passive.min_requests);
    block.duration("window", passive.window);
    block.duration("eject_for", passive.eject_for);
    block.duration("max_eject_for", passive.max_eject_for);
    block.count("max_ejected_percent", passive.max_ejected_percent);
    block
}

/// A member of `targets`: an address, or a table when it has more.
pub(crate) fn target(target: &Target) -> Value {
    let mut block = Block::new(&TARGET, &[]);
    block.text("address", &target.address);
    block.count("weight", target.weight.as_u16());
    block.count("priority", target.priority);
    block.maybe_count("max_connections", target.max_connections);
    if target.weight == Weight::ONE && target.priority == 0 && target.max_connections.is_none() {
        Value::Text(target.address.to_string())
    } else {
        block.table()
    }
}
