//! `evenkeel target`: change the targets of a pool while it serves.

use std::thread;
use std::time::{Duration, Instant};

use evenkeel_api::{
    Duty, EditTarget, NewTarget, Target as Seen, TargetState, drain_path, target_path, targets_path,
};
use evenkeel_base::TargetAddr;

use crate::cli::{Global, Place, Save, Share, Target};
use crate::client::{Change, Client};
use crate::exit::Exit;
use crate::screen::{self, Failure};
use crate::units::plural;

/// Between two looks at a target that drains.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Makes the change and tells what came of it.
pub(crate) fn run(global: &Global, target: &Target) -> Result<Exit, Failure> {
    let mut client = Client::new(global)?;
    // The end of a drain counts, whether somebody reads on or not.
    let told = make(&mut client, target, &mut |line| screen::print_more(line).map(drop))?;
    screen::print(&told)
}

/// What came of it; `say` tells what happens until then.
fn make(
    client: &mut Client,
    target: &Target,
    say: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<String, Failure> {
    match target {
        Target::Add { place, share, save } => add(client, place, share, *save),
        Target::Remove { place, save } => remove(client, place, *save),
        Target::Set { place, share, save } => set(client, place, share, *save),
        Target::Drain { place, wait, timeout } => {
            let told = drain(client, place)?;
            if *wait { follow(client, place, *timeout, LOOK_EVERY, say) } else { Ok(told) }
        }
        Target::Enable { place } => duty(client, place, Duty::Enabled, "enabled"),
        Target::Disable { place } => duty(client, place, Duty::Disabled, "disabled"),
    }
}

fn add(client: &mut Client, place: &Place, share: &Share, save: Save) -> Result<String, Failure> {
    let new = NewTarget {
        address: place.address.to_string(),
        weight: share.weight,
        priority: share.priority,
        max_connections: share.max_connections.and_then(|limit| limit.0),
        save: save.save,
    };
    let answer = client.change(Change::post(&targets_path(place.pool.as_str())).with(&new))?;
    Ok(told(place, "added", save.save, &answer))
}

fn remove(client: &mut Client, place: &Place, save: Save) -> Result<String, Failure> {
    let query = if save.save { "?save=1" } else { "" };
    client.change(Change::delete(&format!("{}{query}", path(place))))?;
    Ok(told(place, "removed", save.save, &[]))
}

fn set(client: &mut Client, place: &Place, share: &Share, save: Save) -> Result<String, Failure> {
    let edit = EditTarget {
        weight: share.weight,
        priority: share.priority,
        max_connections: share.max_connections.map(|limit| limit.0),
        state: None,
        save: save.save,
    };
    let answer = client.change(Change::patch(&path(place)).with(&edit))?;
    Ok(told(place, "changed", save.save, &answer))
}

fn duty(client: &mut Client, place: &Place, duty: Duty, done: &str) -> Result<String, Failure> {
    let edit = EditTarget { state: Some(duty), ..EditTarget::default() };
    let answer = client.change(Change::patch(&path(place)).with(&edit))?;
    Ok(told(place, done, false, &answer))
}

fn drain(client: &mut Client, place: &Place) -> Result<String, Failure> {
    let path = drain_path(place.pool.as_str(), &place.address.to_string());
    let answer = client.change(Change::post(&path))?;
    Ok(told(place, "draining", false, &answer))
}

/// Tells how much is in flight whenever it changes, until nothing is.
fn follow(
    client: &mut Client,
    place: &Place,
    timeout: Option<Duration>,
    look_every: Duration,
    say: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let begun = Instant::now();
    let mut told = None;
    loop {
        let Some(target) = look(client, place)? else {
            return Ok(format!("{} is no longer in {}\n", place.address, place.pool));
        };
        if target.state == TargetState::Up {
            return Err(Failure::failed(format!(
                "{} in {} no longer drains: somebody enabled it; {} in flight",
                place.address, place.pool, target.in_flight
            )));
        }
        if told != Some(target.in_flight) {
            told = Some(target.in_flight);
            say(&format!("{} in flight\n", target.in_flight))?;
        }
        if target.in_flight == 0 {
            return Ok(format!("drained {} in {}\n", place.address, place.pool));
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Failure::failed(format!(
                "{} in {} still has {} in flight; it goes on draining: wait longer, or close connections",
                place.address, place.pool, target.in_flight
            )));
        }
        thread::sleep(left.map_or(look_every, |left| left.min(look_every)));
    }
}

fn look(client: &mut Client, place: &Place) -> Result<Option<Seen>, Failure> {
    let targets: Vec<Seen> = client.read(&targets_path(place.pool.as_str()))?;
    let is_it = |target: &Seen| target.address.parse::<TargetAddr>().is_ok_and(|seen| seen == place.address);
    Ok(targets.into_iter().find(|target| !target.emergency && is_it(target)))
}

fn path(place: &Place) -> String {
    target_path(place.pool.as_str(), &place.address.to_string())
}

/// One line: what was done, and how the target stands now if the answer says it.
fn told(place: &Place, done: &str, saved: bool, answer: &[u8]) -> String {
    let saved = if saved { ", and saved" } else { "" };
    let standing = serde_json::from_slice::<Seen>(answer).map(|seen| standing(&seen));
    // "disabled …: disabled" would say it twice.
    let standing = standing.map(|text| text.strip_prefix(&format!("{done}, ")).unwrap_or(&text).to_owned());
    let standing = standing.map_or(String::new(), |text| format!(": {text}"));
    format!("{done} {} in {}{saved}{standing}\n", place.address, place.pool)
}

fn standing(seen: &Seen) -> String {
    let mut text = seen.state.to_string();
    match (seen.state, &seen.reason) {
        (TargetState::Draining, _) if seen.weight == 0 => text.push_str(" (its weight is 0)"),
        (TargetState::Down | TargetState::Ejected | TargetState::Unresolved, Some(reason)) => {
            text.push_str(&format!(" ({})", screen::harmless(reason)));
        }
        _ => {}
    }
    text.push_str(&format!(", weight {}", seen.weight));
    if seen.priority > 0 {
        text.push_str(&format!(", priority {}", seen.priority));
    }
    if let Some(most) = seen.max_connections {
        text.push_str(&format!(", at most {}", plural(most as usize, "connection")));
    }
    text.push_str(&format!(", {} in flight", seen.in_flight));
    text
}

#[cfg(test)]
mod tests;
