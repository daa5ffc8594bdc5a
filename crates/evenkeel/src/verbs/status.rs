//! `evenkeel status`: what the running process does.

use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

use evenkeel_api::{Client as Remembered, Connection, Listener, PREFIX, Pool, Status, Target, targets_path};
use evenkeel_base::Reason;
use serde::Serialize;

use crate::cli::{self, Global, View};
use crate::client::{ApiError, Client};
use crate::exit::Exit;
use crate::screen::{self, Failure, harmless};
use crate::table;
use crate::units::{age, bytes, count, plural};

/// Between two pages of `--watch`.
const EVERY: Duration = Duration::from_secs(1);

/// Home, and erase what is there: plain enough for every terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints once, or again and again.
pub(crate) fn run(global: &Global, asked: &cli::Status) -> Result<Exit, Failure> {
    let subject = subject(asked)?;
    let mut client = Client::new(global)?;
    let first = page(&mut client, subject, asked)?;
    if !asked.watch {
        return screen::print(&first);
    }
    let is_live = std::io::stdout().is_terminal() && !asked.json;
    let start = if is_live { CLEAR } else { "" };
    let gap = if is_live || asked.json { "" } else { "\n" };
    let mut text = first + gap;
    while screen::print_more(&format!("{start}{text}"))? {
        thread::sleep(EVERY);
        text = match page(&mut client, subject, asked) {
            Ok(text) => text + gap,
            // It may be back after a restart; what is wrong for good ends the watch.
            Err(Stop::Api(error)) if error.may_pass() && is_live => format!("error: {error}\n"),
            Err(Stop::Api(error)) if error.may_pass() => {
                screen::error(&error.to_string());
                String::new()
            }
            Err(stop) => return Err(stop.into()),
        };
    }
    Ok(Exit::Ok)
}

/// What is shown; filters of targets mean the targets.
fn subject(asked: &cli::Status) -> Result<Option<View>, Failure> {
    let is_filtered = asked.states.is_some() || asked.pool.is_some();
    match asked.view {
        None if is_filtered => Ok(Some(View::Targets)),
        Some(view) if asked.states.is_some() && view != View::Targets => Err(Failure::usage(
            "--status is a filter of targets; write `evenkeel status targets --status WORD`",
        )),
        Some(View::Connections) if asked.pool.is_some() => {
            Err(Failure::usage("connections belong to a listener, not to a pool; leave --pool out"))
        }
        view => Ok(view),
    }
}

/// Why there is no page.
#[derive(Debug)]
enum Stop {
    Api(ApiError),
    Asked(Failure),
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Api(error) => error.into(),
            Stop::Asked(failure) => failure,
        }
    }
}

fn page(client: &mut Client, subject: Option<View>, asked: &cli::Status) -> Result<String, Stop> {
    let Some(view) = subject else { return glance(client, asked) };
    match view {
        View::Pools => {
            let pools = pools(client, asked)?;
            Ok(shown(asked, &pools, table::pools))
        }
        View::Targets => {
            let pools = pools(client, asked)?;
            let mut targets = targets_of(client, &pools)?;
            if let Some(states) = &asked.states {
                targets.retain(|target| states.0.contains(&target.state));
            }
            Ok(shown(asked, &targets, table::targets))
        }
        View::Listeners => {
            pools(client, asked)?;
            let mut listeners: Vec<Listener> = client.read(&format!("{PREFIX}/listeners"))?;
            listeners.retain(|listener| is_asked(asked, listener.pool.as_deref()));
            Ok(shown(asked, &listeners, table::listeners))
        }
        View::Clients => {
            pools(client, asked)?;
            let mut clients: Vec<Remembered> = client.read(&format!("{PREFIX}/clients"))?;
            clients.retain(|remembered| is_asked(asked, Some(&remembered.pool)));
            Ok(shown(asked, &clients, table::clients))
        }
        View::Connections => {
            let connections: Vec<Connection> = client.read(&format!("{PREFIX}/connections"))?;
            Ok(shown(asked, &connections, table::connections))
        }
    }
}

fn is_asked(asked: &cli::Status, pool: Option<&str>) -> bool {
    asked.pool.as_ref().is_none_or(|wanted| pool == Some(wanted.as_str()))
}

fn shown<T: Serialize>(asked: &cli::Status, list: &[T], table: impl Fn(&[T]) -> String) -> String {
    if asked.json { json(asked, list) } else { table(list) }
}

/// Pretty for one look, a line each for a stream.
fn json<T: Serialize + ?Sized>(asked: &cli::Status, value: &T) -> String {
    let text = if asked.watch { serde_json::to_string(value) } else { serde_json::to_string_pretty(value) };
    // The API's types are plain: nothing can fail.
    text.map(|text| text + "\n").unwrap_or_default()
}

/// The pools, or the one that is asked for. A pool that is not there is an error, not an empty table.
fn pools(client: &mut Client, asked: &cli::Status) -> Result<Vec<Pool>, Stop> {
    const SHOWN: usize = 10;
    let mut pools: Vec<Pool> = client.read(&format!("{PREFIX}/pools"))?;
    let Some(wanted) = &asked.pool else { return Ok(pools) };
    if !pools.iter().any(|pool| pool.name == wanted.as_str()) {
        let known: Vec<String> = pools.iter().take(SHOWN).map(|pool| harmless(&pool.name)).collect();
        let more = if pools.len() > SHOWN { ", …" } else { "" };
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("there is no pool {:?}; known are {known}{more}", wanted.as_str());
        return Err(Stop::Asked(Failure::usage(message)));
    }
    pools.retain(|pool| pool.name == wanted.as_str());
    Ok(pools)
}

fn targets_of<'p>(
    client: &mut Client,
    pools: impl IntoIterator<Item = &'p Pool>,
) -> Result<Vec<Target>, ApiError> {
    let mut all = Vec::new();
    for pool in pools {
        match client.read::<Vec<Target>>(&targets_path(&pool.name)) {
            Ok(targets) => all.extend(targets),
            // A reload took it away since it was listed.
            Err(error) if error.is(Reason::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn glance(client: &mut Client, asked: &cli::Status) -> Result<String, Stop> {
    let status: Status = client.read(&format!("{PREFIX}/status"))?;
    if asked.json {
        return Ok(json(asked, &status));
    }
    let listeners: Vec<Listener> = client.read(&format!("{PREFIX}/listeners"))?;
    let pools: Vec<Pool> = client.read(&format!("{PREFIX}/pools"))?;
    let mut targets = targets_of(client, pools.iter().filter(|pool| pool.available < pool.targets))?;
    targets.retain(|target| target.state != evenkeel_api::TargetState::Up);
    let mut text = summary(&status);
    text.push('\n');
    text.push_str(&table::listeners(&listeners));
    text.push('\n');
    text.push_str(&table::pools(&pools));
    if !targets.is_empty() {
        text.push_str("\nNot up:\n");
        text.push_str(&table::targets(&targets));
    }
    Ok(text)
}

fn summary(status: &Status) -> String {
    let state = match (status.draining, status.ready) {
        (true, _) => "draining",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let file = status.config_file.as_deref().unwrap_or("no configuration file");
    let memory = status.resident_bytes.map_or(String::new(), |resident| format!(", {}", bytes(resident)));
    let mut text = format!(
        "evenkeel {}, {state}, up for {}, process {}, {}\n",
        harmless(&status.version),
        age(status.uptime_s),
        status.pid,
        harmless(file),
    );
    text.push_str(&format!(
        "{}{memory}, {}, {} of {} up\n",
        plural(status.workers, "worker"),
        connections(status.connections),
        status.targets_up,
        plural(status.targets_total, "target"),
    ));
    if status.panics > 0 {
        text.push_str(&format!("{} panics were contained: please report them with the log\n", status.panics));
    }
    if status.access_log_dropped > 0 {
        text.push_str(&format!(
            "{} access log lines were dropped: its disk is too slow\n",
            count(status.access_log_dropped)
        ));
    }
    text
}

fn connections(open: usize) -> String {
    let plural = if open == 1 { "" } else { "s" };
    format!("{} open connection{plural}", count(open as u64))
}

#[cfg(test)]
mod tests;
