//! `evenkeel http` and `evenkeel tcp`: a balancer without a configuration file.
//!
//! The words become the TOML that means the same, and that is checked like any file: there is one set of defaults
//! and one set of rules.

use std::fmt::Write as _;
use std::path::Path;

use evenkeel_base::BindAddr;
use evenkeel_config::{Config, Problems, Protocol, one_liner, to_toml};

use crate::cli::{AdminBind, OneLine, Probe};
use crate::exit::Exit;
use crate::screen::{self, Failure};
use crate::serve;
use crate::source::load_text;

/// Guards the admin API of a one-line command whenever it is set; the client reads it, too.
const TOKEN_VARIABLE: &str = "EVENKEEL_ADMIN_TOKEN";

/// Serves, or prints the configuration.
pub(crate) fn run(protocol: Protocol, line: &OneLine) -> Result<Exit, Failure> {
    let has_token = std::env::var_os(TOKEN_VARIABLE).is_some_and(|token| !token.is_empty());
    let config = config(protocol, line, has_token)?;
    if line.print_config {
        return screen::print(&to_toml(&config));
    }
    Ok(serve::run_config(config))
}

fn config(protocol: Protocol, line: &OneLine, has_token: bool) -> Result<Config, Failure> {
    if let AdminBind::At(address) = &line.admin
        && !has_token
        && !is_local(address)
    {
        // The check of the file would say the same, with a remedy for files.
        return Err(Failure::usage(format!(
            "the admin API would be open to everyone who reaches {address}; set {TOKEN_VARIABLE}, or give --admin \
             127.0.0.1:9900 or unix:/path"
        )));
    }
    let algorithm = Some(line.algorithm.as_str());
    let plain = one_liner(protocol, &line.listen, &line.targets, algorithm)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let text = to_toml(&plain) + &more(line, has_token);
    load_text(&text, Path::new("the command line")).map_err(|problems| Failure::usage(told(&problems)))
}

fn is_local(address: &BindAddr) -> bool {
    match address {
        BindAddr::Ip(address) => address.ip().to_canonical().is_loopback(),
        BindAddr::Any(_) => false,
        BindAddr::Unix(_) => true,
    }
}

/// The tables that options stand for.
fn more(line: &OneLine, has_token: bool) -> String {
    let mut text = format!("\n[admin]\nbind = {}\n", quoted(&line.admin.to_string()));
    if has_token && line.admin != AdminBind::Off {
        let _ = writeln!(text, "token = {{ env = {} }}", quoted(TOKEN_VARIABLE));
    }
    if let Some(workers) = line.workers {
        let _ = write!(text, "\n[workers]\ncount = {workers}\n");
    }
    match &line.health {
        Some(Probe::Tcp) => text.push_str("\n[pool.main.health]\ncheck = \"tcp\"\n"),
        Some(Probe::Http(path)) => {
            let _ = write!(text, "\n[pool.main.health]\ncheck = \"http\"\npath = {}\n", quoted(path));
        }
        None => {}
    }
    if line.sticky {
        text.push_str("\n[pool.main.affinity]\nby = \"client-ip\"\n");
    }
    text
}

/// A TOML string. JSON's form is one, but for DEL, which TOML wants escaped.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Places in a text that the user has not written would mislead.
fn told(problems: &Problems) -> String {
    let one = |problem: &evenkeel_config::Problem| match &problem.advice {
        Some(advice) => format!("{}; {advice}", problem.message),
        None => problem.message.clone(),
    };
    problems.list.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use evenkeel_config::{Check, WorkerCount};

    use super::*;

    fn line() -> OneLine {
        OneLine {
            listen: ":8080".into(),
            targets: vec!["a:1".into(), "b:1".into()],
            algorithm: "round-robin".into(),
            health: None,
            sticky: false,
            admin: "127.0.0.1:9900".parse().unwrap(),
            workers: None,
            print_config: false,
        }
    }

    fn made(line: &OneLine) -> Result<Config, String> {
        config(Protocol::Http, line, false).map_err(|failure| {
            assert_eq!(failure.exit, Exit::Usage);
            failure.message
        })
    }

    #[test]
    fn without_options_it_is_the_plain_one_liner() {
        let line = line();
        let plain = one_liner(Protocol::Http, &line.listen, &line.targets, None).unwrap();
        assert_eq!(made(&line).unwrap(), plain);
    }

    #[test]
    fn a_token_in_the_environment_guards_the_api() {
        let text = more(&line(), true);
        assert!(
            text.contains("[admin]\nbind = \"127.0.0.1:9900\"\ntoken = { env = \"EVENKEEL_ADMIN_TOKEN\" }\n"),
            "{text}"
        );
        assert!(!more(&line(), false).contains("token"));
        assert!(!more(&OneLine { admin: AdminBind::Off, ..line() }, true).contains("token"));
    }

    #[test]
    fn options_become_tables_and_the_printed_file_means_the_same() {
        let line = OneLine {
            algorithm: "maglev".into(),
            health: Some(Probe::Http("/up?a=\"b\"".replace('"', "%22"))),
            sticky: true,
            admin: "unix:/run/x.sock".parse().unwrap(),
            workers: Some(3),
            ..line()
        };
        let config = made(&line).unwrap();
        let pool = config.pool("main").unwrap();
        let Some(Check::Http { path, .. }) = pool.health.as_ref().map(|health| &health.check) else {
            panic!("{:?}", pool.health);
        };
        assert_eq!(&**path, "/up?a=%22b%22");
        assert!(pool.affinity.is_some());
        assert!(matches!(config.workers, WorkerCount::Fixed(n) if n.get() == 3));
        assert_eq!(load_text(&to_toml(&config), Path::new("x")).unwrap(), config);
        let tcp = made(&OneLine { health: Some(Probe::Tcp), admin: AdminBind::Off, ..line }).unwrap();
        assert_eq!(tcp.pool("main").unwrap().health.as_ref().unwrap().check, Check::Tcp);
        assert!(tcp.admin.is_none());
    }

    #[test]
    fn wrong_words_are_usage_errors_with_a_remedy() {
        let wrong = |change: fn(&mut OneLine)| {
            let mut line = line();
            change(&mut line);
            made(&line).unwrap_err()
        };
        assert!(wrong(|line| line.listen = "8080".into()).contains("the port is missing"));
        assert!(wrong(|line| line.targets.push("a:1".into())).contains("twice"));
        let open = wrong(|line| line.admin = ":9900".parse().unwrap());
        assert!(open.contains("open to everyone") && open.contains(TOKEN_VARIABLE), "{open}");
        let shared = wrong(|line| {
            line.listen = "127.0.0.1:8080".into();
            line.admin = "127.0.0.1:8080".parse().unwrap();
        });
        assert!(shared.contains("already listened on"), "{shared}");
        for path in ["/a b", "/\"\n[x]", "/\u{7f}"] {
            let mut line = line();
            line.health = Some(Probe::Http(path.into()));
            let error = made(&line).unwrap_err();
            assert!(error.contains("is not a path"), "{path:?}: {error}");
        }
    }
}
