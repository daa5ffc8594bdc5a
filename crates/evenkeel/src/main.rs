//! The binary: a balancer for TCP and HTTP, and the commands that look after it.
//!
//! Owns: the command line (`cli`), one file per verb (`verbs`), what is said and what the process ends with
//! (`screen`, `exit`), the world that a configuration refers to (`source`), the client of the admin API (`client`),
//! and the wiring of a process that serves (`serve`).
//!
//! Does not know: how a byte is moved, a target is chosen or a verdict found. That is the crates below.

mod cli;
mod client;
mod color;
mod control;
mod demo;
mod exit;
#[cfg(test)]
mod fake_api;
mod listeners;
mod logs;
mod memory;
mod pid_file;
mod process;
mod screen;
mod serve;
mod source;
mod stop;
mod table;
mod units;
mod verbs;
mod watch;
mod worker;

use std::process::ExitCode;

use cli::{Cli, Verb};
use evenkeel_config::Protocol;
use exit::Exit;
use screen::Failure;

/// Measured against the system's: fewer cycles per connection, and memory goes back after a peak.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => screen::tell(run(cli)).into(),
        Err(words) => {
            // Help and version come this way, too. When they cannot be printed there is nobody to tell.
            let _ = words.print();
            let exit = if words.use_stderr() { Exit::Usage } else { Exit::Ok };
            exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, verb } = cli;
    global.check(&verb)?;
    match verb {
        Verb::Run(run) => Ok(serve::run_file(run.config)),
        Verb::Demo => Ok(demo::run()),
        Verb::Http(line) => verbs::one_line::run(Protocol::Http, &line),
        Verb::Tcp(line) => verbs::one_line::run(Protocol::Tcp, &line),
        Verb::Check(check) => verbs::check::run(&check),
        Verb::Reload => verbs::reload::run(&global),
        Verb::Status(status) => verbs::status::run(&global, &status),
        Verb::Target(target) => verbs::target::run(&global, &target),
        Verb::Connection(connection) => verbs::connection::run(&global, &connection),
        Verb::Completions(completions) => verbs::completions::run(&completions),
        Verb::Man(man) => verbs::man::run(&man),
    }
}
