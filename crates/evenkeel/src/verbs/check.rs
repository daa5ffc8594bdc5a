//! `evenkeel check`: is this a configuration?

use std::path::Path;

use evenkeel_config::Config;

use crate::cli::Check;
use crate::color;
use crate::exit::Exit;
use crate::screen::{self, Failure};
use crate::source::{LoadError, load_file, load_stdin};
use crate::units::plural;

/// Prints that all is well, or every problem; or the schema.
pub(crate) fn run(check: &Check) -> Result<Exit, Failure> {
    let Some(file) = check.file.as_deref().filter(|_| !check.schema) else {
        return screen::print(&format!("{:#}\n", evenkeel_config::json_schema()));
    };
    let is_stdin = file == Path::new("-");
    let loaded = if is_stdin { load_stdin() } else { load_file(file) };
    match loaded {
        Ok(config) => {
            let name = if is_stdin { "<stdin>".into() } else { file.to_string_lossy() };
            screen::print(&format!("{name}: ok, {}\n", content(&config)))
        }
        Err(LoadError::Problems(problems)) => {
            screen::complain(&problems.render(color::stderr()));
            Ok(Exit::BadConfig)
        }
        Err(unreadable) => Err(Failure { exit: Exit::BadConfig, message: unreadable.to_string() }),
    }
}

fn content(config: &Config) -> String {
    let targets = config.pools.iter().map(|pool| pool.targets.len()).sum();
    let (listeners, pools) = (config.listeners.len(), config.pools.len());
    format!("{}, {}, {}", plural(listeners, "listener"), plural(pools, "pool"), plural(targets, "target"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_config::{Protocol, one_liner};

    #[test]
    fn what_is_there_is_counted() {
        let targets = ["a:1".to_owned(), "b:1".to_owned()];
        let config = one_liner(Protocol::Tcp, ":1", &targets, None).unwrap();
        assert_eq!(content(&config), "1 listener, 1 pool, 2 targets");
    }
}
