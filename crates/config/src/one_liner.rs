//! The configuration of a command such as `evenkeel http :8080 a:80 b:80`.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use evenkeel_balance::{Algorithm, UnknownAlgorithm};
use evenkeel_base::{BindAddr, ListenerName, PoolName, TargetAddr, Weight};

use crate::check::address_key;
use crate::checked::{AccessList, Config, HttpSettings, Listener, Pool, Protocol, Target};
use crate::keys::{ALGORITHMS, LISTENER};
use crate::limits::MAX_TARGETS;
use crate::read::{Cx, Reader};
use crate::source::NoSource;
use crate::suggest::nearest;

/// Why the words of a command are no configuration: one sentence with the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The name of the listener and of the pool of a one-line command.
const NAME: &str = "main";

/// A listener `main` on `listen` and a pool `main` of `targets`; all else has its default.
///
/// # Errors
/// The first word that is not what it should be.
pub fn one_liner(
    protocol: Protocol,
    listen: &str,
    targets: &[String],
    algorithm: Option<&str>,
) -> Result<Config, UsageError> {
    let bind: BindAddr =
        listen.parse().map_err(|error| UsageError(format!("cannot listen on {listen:?}: {error}")))?;
    let algorithm = algorithm.map(named_algorithm).transpose()?;
    let name = |error: evenkeel_base::NameError| UsageError(error.to_string());
    let pool_name = PoolName::new(NAME).map_err(name)?;

    let cx = Cx::new(&NoSource);
    let presets = Reader::absent(&cx, &LISTENER);
    let idle = presets.duration("idle_timeout");
    let listener = Listener {
        name: ListenerName::new(NAME).map_err(name)?,
        bind: vec![bind],
        protocol,
        pool: Some(pool_name.clone()),
        routes: Vec::new(),
        access: AccessList::default(),
        max_connections: presets.count("max_connections"),
        backlog: presets.count("backlog"),
        idle_timeout: (!idle.is_zero()).then_some(idle),
        http: HttpSettings::default(),
    };
    let mut pool = Pool::new(pool_name);
    pool.targets = members(targets)?;
    pool.algorithm = algorithm.unwrap_or(pool.algorithm);
    Ok(Config { listeners: vec![Arc::new(listener)], pools: vec![Arc::new(pool)], ..Config::default() })
}

fn named_algorithm(word: &str) -> Result<Algorithm, UsageError> {
    word.parse().map_err(|error: UnknownAlgorithm| match nearest(word, ALGORITHMS.iter().copied()) {
        Some(near) => UsageError(format!("{word:?} is not an algorithm; did you mean {near:?}?")),
        None => UsageError(error.to_string()),
    })
}

fn members(targets: &[String]) -> Result<Vec<Target>, UsageError> {
    if targets.is_empty() {
        return Err(UsageError("there is no target; add at least one HOST:PORT".into()));
    }
    if targets.len() > MAX_TARGETS {
        return Err(UsageError(format!(
            "there are {} targets; a pool has at most {MAX_TARGETS}",
            targets.len()
        )));
    }
    let mut seen = HashSet::new();
    let mut members = Vec::with_capacity(targets.len());
    for text in targets {
        let address: TargetAddr =
            text.parse().map_err(|error| UsageError(format!("{text:?} is not a target: {error}")))?;
        if !seen.insert(address_key(&address)) {
            return Err(UsageError(format!("the target {address} is there twice; write it once")));
        }
        members.push(Target { address, weight: Weight::ONE, priority: 0, max_connections: None });
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load, to_toml};

    fn config(listen: &str, targets: &[&str], algorithm: Option<&str>) -> Result<Config, String> {
        let targets: Vec<String> = targets.iter().map(|t| (*t).to_owned()).collect();
        one_liner(Protocol::Http, listen, &targets, algorithm).map_err(|error| error.to_string())
    }

    #[test]
    fn prints_as_the_file_that_means_the_same() {
        let config = config(":8080", &["a:1", "10.0.0.2:80"], Some("maglev")).unwrap();
        let text = to_toml(&config);
        assert_eq!(
            text,
            "[listener.main]\nbind = [\":8080\"]\nprotocol = \"http\"\npool = \"main\"\n\n\
             [pool.main]\nalgorithm = \"maglev\"\ntargets = [\"a:1\", \"10.0.0.2:80\"]\n"
        );
        assert_eq!(load(&text, "x", &NoSource).unwrap(), config);
    }

    #[test]
    fn wrong_words_are_named() {
        let error = |listen, targets: &[&str], algorithm| config(listen, targets, algorithm).unwrap_err();
        assert!(error("8080", &["a:1"], None).starts_with("cannot listen on \"8080\": the port is missing"));
        assert!(error(":1", &["a"], None).starts_with("\"a\" is not a target: the port is missing"));
        assert_eq!(error(":1", &["a:1", "a:1"], None), "the target a:1 is there twice; write it once");
        assert_eq!(error(":1", &[], None), "there is no target; add at least one HOST:PORT");
        assert!(error(":1", &["a:1"], Some("maglv")).ends_with("did you mean \"maglev\"?"));
    }
}
