use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_balance::Algorithm;

use super::*;
use crate::NoSource;
use crate::checked::{
    Admin, Check, HttpSettings, Passive, PoolLimits, Protocol, Resolver, Retry, WorkerCount,
};
use crate::keys::{Kind, Preset, sections};

fn good(text: &str) -> Config {
    load(text, "x.toml", &NoSource).unwrap_or_else(|problems| panic!("{problems}"))
}

fn messages(text: &str) -> Vec<String> {
    load(text, "x.toml", &NoSource).unwrap_err().list.into_iter().map(|problem| problem.message).collect()
}

const MINIMAL: &str =
    "[listener.web]\nbind = \":80\"\nprotocol = \"http\"\npool = \"app\"\n[pool.app]\ntargets = [\"a:1\"]\n";

#[test]
fn every_default_is_what_the_contract_says() {
    let seconds = Duration::from_secs;
    let config = good(MINIMAL);
    assert_eq!((config.workers, config.grace, config.watch), (WorkerCount::Auto, seconds(30), false));
    assert_eq!(config.admin.as_ref().unwrap().bind.to_string(), "127.0.0.1:9900");
    assert_eq!(config.admin, Some(Admin::default()));
    assert_eq!((config.access_log.clone(), config.pid_file.clone()), (None, None));
    let resolver = Resolver {
        nameservers: Vec::<SocketAddr>::new(),
        timeout: seconds(2),
        min_ttl: seconds(1),
        max_ttl: seconds(300),
        max_addresses: 256,
    };
    assert_eq!((config.resolver.clone(), Resolver::default()), (resolver.clone(), resolver));

    let listener = config.listener("web").unwrap();
    assert_eq!((listener.max_connections, listener.backlog), (50_000, 4096));
    assert_eq!((listener.idle_timeout, listener.protocol), (Some(seconds(600)), Protocol::Http));
    let http = HttpSettings {
        max_head_bytes: 16384,
        max_headers: 100,
        max_target_bytes: 8192,
        max_body_bytes: None,
        header_timeout: seconds(10),
        body_timeout: seconds(30),
        response_timeout: seconds(30),
        write_timeout: seconds(30),
        keep_alive_timeout: seconds(75),
        trust_forwarded: false,
    };
    assert_eq!((&listener.http, HttpSettings::default()), (&http, http.clone()));

    let pool = config.pool("app").unwrap();
    assert_eq!((pool.algorithm, pool.connect_timeout), (Algorithm::RoundRobin, seconds(2)));
    assert_eq!((pool.keep_alive_timeout, pool.max_idle, pool.fail_open), (seconds(30), 1024, false));
    assert_eq!((&pool.affinity, &pool.health, pool.source, &pool.emergency), (&None, &None, None, &None));
    let passive = Passive {
        connect_errors: 3,
        http_5xx_percent: 50,
        min_requests: 20,
        window: seconds(10),
        eject_for: seconds(30),
        max_eject_for: seconds(300),
        max_ejected_percent: 50,
    };
    assert_eq!((&pool.passive, Passive::default()), (&Some(passive.clone()), passive));
    let retry = Retry {
        attempts: 2,
        on_connect: true,
        on_stale: true,
        on_failure: true,
        on_status: Vec::new(),
        budget_percent: 20,
    };
    assert_eq!((&pool.retry, Retry::default()), (&retry, retry.clone()));
    let limits = PoolLimits { connections: None, pending: 1000, queue_timeout: seconds(1) };
    assert_eq!((&pool.limits, PoolLimits::default()), (&limits, limits.clone()));
}

#[test]
fn tables_that_turn_something_on_have_defaults_too() {
    let config = good(&format!(
        "{MINIMAL}[pool.app.affinity]\n[pool.app.health]\ncheck = \"http\"\n[access_log]\n[listener.db]\n\
         bind = \":81\"\nprotocol = \"tcp\"\npool = \"app\"\nidle_timeout = \"0\"\n"
    ));
    let pool = config.pool("app").unwrap();
    let affinity = pool.affinity.as_ref().unwrap();
    assert_eq!((affinity.table_size, affinity.ttl.as_secs(), affinity.fail_back), (100_000, 3600, false));
    let health = pool.health.as_ref().unwrap();
    assert_eq!((health.interval.as_secs(), health.timeout.as_secs(), health.rise, health.fall), (2, 1, 2, 3));
    let Check::Http { path, host, status, body } = &health.check else { panic!("not http") };
    assert_eq!((&**path, host, &status[..], body), ("/", &None, &[(200, 399)][..], &None));
    assert!(config.access_log.is_some());
    assert_eq!(config.listener("db").unwrap().idle_timeout, None);
}

#[test]
fn order_is_that_of_the_file() {
    let text = "[pool.z]\ntargets = [\"b:1\", \"a:1\"]\n[listener.z]\nbind = \":1\"\nprotocol = \"tcp\"\npool = \"z\"\n\
                [pool.a]\ntargets = []\n[listener.a]\nbind = \":2\"\nprotocol = \"tcp\"\npool = \"a\"\n";
    let config = good(text);
    assert_eq!(config.pools.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["z", "a"]);
    assert_eq!(config.listeners.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["z", "a"]);
    assert_eq!(config.pools[0].targets[0].address.to_string(), "b:1");
}

/// A key that the tables define but nothing reads would be accepted and ignored.
#[test]
fn every_key_is_read() {
    for section in sections() {
        for key in section.keys {
            // A value that is wrong for every kind: each reader must complain about it.
            let wrong = if matches!(key.kind, Kind::Flag | Kind::Switch(_)) { "7" } else { "1979-05-27" };
            let text = around(section.path, &format!("{} = {wrong}\n", key.name));
            let found = messages(&text);
            let named = found.iter().any(|message| message.contains(key.name));
            assert!(named, "{}.{}: {found:?}\n{text}", section.path, key.name);
        }
    }
}

/// A file in which only `line` is wrong, in the section of that path.
fn around(path: &str, line: &str) -> String {
    let inline = line.trim_end();
    let is = |key: &str| line.starts_with(&format!("{key} "));
    let field = |key: &str, text: &str| if is(key) { String::new() } else { text.to_owned() };
    let listener = format!(
        "{}{}pool = \"app\"\n",
        field("bind", "bind = \":80\"\n"),
        field("protocol", "protocol = \"http\"\n")
    );
    let whole = "[listener.web]\nbind = \":80\"\nprotocol = \"http\"\npool = \"app\"\n";
    let pool = "[pool.app]\ntargets = []\n";
    let route = "[[listener.web.route]]\n";
    match path {
        "" if is("listener") => format!("{line}{pool}"),
        "" if is("pool") => format!("{line}{whole}"),
        "" => format!("{line}{whole}{pool}"),
        "listener.NAME" if is("pool") => {
            format!("[listener.web]\nbind = \":80\"\nprotocol = \"http\"\n{line}{pool}")
        }
        "listener.NAME" => format!("[listener.web]\n{listener}{line}{pool}"),
        "listener.NAME.route" if is("when") => format!("{whole}{route}pool = \"app\"\n{line}{pool}"),
        "listener.NAME.route" => format!("{whole}{route}{line}{pool}"),
        "listener.NAME.route.when" => format!("{whole}{route}pool = \"app\"\nwhen = {{ {inline} }}\n{pool}"),
        "listener.NAME.route.respond" => {
            let status = field("status", "status = 200, ");
            format!("{whole}{route}respond = {{ {status}{inline} }}\n{pool}")
        }
        "listener.NAME.route.redirect" => {
            let to = field("to", "to = \"/x\", ");
            format!("{whole}{route}redirect = {{ {to}{inline} }}\n{pool}")
        }
        "pool.NAME" => format!("{whole}[pool.app]\n{}{line}", field("targets", "targets = []\n")),
        "pool.NAME.targets" => {
            let address = field("address", "address = \"a:1\", ");
            format!("{whole}[pool.app]\ntargets = [{{ {address}{inline} }}]\n")
        }
        "pool.NAME.health" => {
            let check = field("check", "check = \"http\"\n");
            format!("{whole}{pool}[pool.app.health]\n{check}{line}")
        }
        "pool.NAME.health.expect" => {
            format!("{whole}{pool}[pool.app.health]\ncheck = \"http\"\nexpect = {{ {inline} }}\n")
        }
        path => {
            let header = path.replace("listener.NAME", "listener.web").replace("pool.NAME", "pool.app");
            format!("{whole}{pool}[{header}]\n{line}")
        }
    }
}

/// Presets that their own kind would refuse, or that do not fit the field they fill, would be a trap.
#[test]
fn every_preset_may_be_written() {
    for section in sections() {
        for key in section.keys {
            let value = match key.preset {
                Preset::Required | Preset::Absent => continue,
                Preset::Flag(flag) => flag.to_string(),
                Preset::Count(count) => count.to_string(),
                Preset::Text(text) => format!("{text:?}"),
                Preset::Texts(texts) => format!("{texts:?}"),
            };
            // `around` writes check = "http" itself, so that the other keys of its table mean something.
            if (section.path, key.name) == ("pool.NAME.health", "check") {
                continue;
            }
            let text = around(section.path, &format!("{} = {value}\n", key.name));
            assert_eq!(good(&text), good(&around(section.path, "")), "{text}");
        }
    }
}

#[test]
fn all_problems_are_reported_together() {
    let text = "grace = 5\n[listener.web]\nbind = \"x\"\nprotocol = \"http\"\npool = \"nowhere\"\nwibble = 1\n[pool.app]\n";
    assert_eq!(
        messages(text),
        [
            "`grace` must be a duration such as \"2s\", not an integer",
            "the port is missing; write HOST:PORT, or [IPV6]:PORT",
            "there is no pool \"nowhere\"",
            "unknown key \"wibble\" in [listener.web]",
            "`targets` is missing in [pool.app]",
        ]
    );
}

#[test]
fn access_lists_fail_closed() {
    let with =
        |line: &str| good(&MINIMAL.replace("pool = \"app\"\n[", &format!("pool = \"app\"\n{line}\n[")));
    let admits = |config: &Config, ip: &str| config.listeners[0].access.admits(Some(ip.parse().unwrap()));
    let nobody = with("allow = []");
    assert!(!admits(&nobody, "10.0.0.1") && !admits(&nobody, "::1"));
    assert!(admits(&with("deny = []"), "10.0.0.1"));
    let both = with("allow = \"10.0.0.0/8\"\ndeny = [\"10.1.0.0/16\"]");
    assert!(admits(&both, "10.0.0.1") && !admits(&both, "10.1.0.1") && !admits(&both, "11.0.0.1"));
}

/// The included files of a test.
struct Files(Vec<(&'static str, &'static str)>);

impl Source for Files {
    fn include(&self, pattern: &str) -> Result<Vec<(String, String)>, String> {
        let all = self.0.iter().filter(|(name, _)| pattern == "*" || *name == pattern);
        Ok(all.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn secret_file(&self, _: &str) -> Result<String, String> {
        Err("no".into())
    }
}

#[test]
fn included_files_are_part_of_the_main_one_each_once() {
    let main = "include = [\"*\", \"a\"]\n[listener.web]\nbind = \":80\"\nprotocol = \"tcp\"\npool = \"b\"\n";
    let files =
        Files(vec![("a", "grace = \"1s\"\n[pool.a]\ntargets = []\n"), ("b", "[pool.b]\ntargets = []\n")]);
    let config = load(main, "main", &files).unwrap();
    assert_eq!(config.grace, Duration::from_secs(1));
    assert_eq!(config.pools.len(), 2);

    let files = Files(vec![("a", "[pool.a]\ntargets = []\n"), ("b", "[pool.b]\ntargets = [5]\n")]);
    let problems = load(main, "main", &files).unwrap_err();
    let place = &problems.list[0];
    assert_eq!((place.file.as_str(), place.line, place.column), ("b", 2, 12));
}
