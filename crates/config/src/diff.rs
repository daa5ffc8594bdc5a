//! What changes from one configuration to another, for people.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use evenkeel_base::{ListenerName, PoolName};

use crate::check::address_key;
use crate::checked::{Action, Config, Listener, Pool, Route, Target};
use crate::facts::{self, Block, Value};
use crate::print::value_text;

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The process: keys outside listeners and pools.
    Process,
    /// A listener.
    Listener(ListenerName),
    /// A pool.
    Pool(PoolName),
}

/// One difference; its text is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
    /// What happens to it, as in `algorithm round-robin → maglev`.
    pub what: String,
    needs_restart: bool,
}

impl Change {
    /// Whether the running process cannot make this change.
    pub fn needs_restart(&self) -> bool {
        self.needs_restart
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Process => {}
            Subject::Listener(name) => write!(f, "listener {name}: ")?,
            Subject::Pool(name) => write!(f, "pool {name}: ")?,
        }
        f.write_str(&self.what)?;
        if self.needs_restart { f.write_str(" (needs a restart)") } else { Ok(()) }
    }
}

/// The changes that lead from `old` to `new`: the process first, then listeners, then pools, each in the order of
/// `new` with what is gone at the end. Empty when both mean the same.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Changes { subject: Subject::Process, list: Vec::new() };
    changes.blocks(&facts::top(old), &facts::top(new), 0);
    if old.admin.as_ref().map(|a| &a.token) != new.admin.as_ref().map(|a| &a.token)
        && old.admin.as_ref().map(|a| &a.token_from) == new.admin.as_ref().map(|a| &a.token_from)
    {
        changes.push("admin.token changed".into());
    }
    paired(
        &old.listeners,
        &new.listeners,
        |l| l.name.as_str(),
        |pair| match pair {
            (Some(old), Some(new)) => changes.about(Subject::Listener(new.name.clone())).listener(old, new),
            (None, Some(new)) => changes.about(Subject::Listener(new.name.clone())).push(listener_line(new)),
            (Some(old), None) => changes.about(Subject::Listener(old.name.clone())).push("removed".into()),
            (None, None) => {}
        },
    );
    paired(
        &old.pools,
        &new.pools,
        |p| p.name.as_str(),
        |pair| match pair {
            (Some(old), Some(new)) => changes.about(Subject::Pool(new.name.clone())).pool(old, new),
            (None, Some(new)) => {
                let plural = if new.targets.len() == 1 { "" } else { "s" };
                let line = format!("added with {} target{plural}", new.targets.len());
                changes.about(Subject::Pool(new.name.clone())).push(line);
            }
            (Some(old), None) => changes.about(Subject::Pool(old.name.clone())).push("removed".into()),
            (None, None) => {}
        },
    );
    changes.list
}

/// Calls `each` with every name's old and new form, those of `new` first.
fn paired<'a, T>(
    old: &'a [Arc<T>],
    new: &'a [Arc<T>],
    name: impl Fn(&T) -> &str,
    mut each: impl FnMut((Option<&'a T>, Option<&'a T>)),
) {
    let mut left: HashMap<&str, &T> = old.iter().map(|item| (name(item), &**item)).collect();
    for item in new {
        each((left.remove(name(item)), Some(item)));
    }
    for item in old.iter().filter(|item| left.contains_key(name(item))) {
        each((Some(item), None));
    }
}

fn listener_line(listener: &Listener) -> String {
    let binds: Vec<String> = listener.bind.iter().map(ToString::to_string).collect();
    let to = listener.pool.as_ref().map_or(String::new(), |pool| format!(" → pool {pool}"));
    format!("added: {} on {}{to}", facts::protocol(listener.protocol), binds.join(", "))
}

struct Changes {
    subject: Subject,
    list: Vec<Change>,
}

impl Changes {
    fn about(&mut self, subject: Subject) -> &mut Self {
        self.subject = subject;
        self
    }

    fn push(&mut self, what: String) {
        // Data workers are threads with their own sockets, started once.
        let needs_restart = self.subject == Subject::Process && what.starts_with("workers.count ");
        self.list.push(Change { subject: self.subject.clone(), what, needs_restart });
    }

    fn listener(&mut self, old: &Listener, new: &Listener) {
        self.blocks(&facts::listener(old), &facts::listener(new), 2);
        self.routes(&old.routes, &new.routes);
    }

    fn pool(&mut self, old: &Pool, new: &Pool) {
        self.blocks(&facts::pool(old), &facts::pool(new), 2);
        self.targets(&old.targets, &new.targets);
    }

    /// `skip`: how much of a block's path is the subject's own.
    fn blocks(&mut self, old: &[Block], new: &[Block], skip: usize) {
        let find = |blocks: &[Block], path: &[String]| blocks.iter().position(|block| block.path == path);
        for block in new {
            let place = block.path.get(skip..).unwrap_or_default().join(".");
            match find(old, &block.path) {
                Some(index) => self.facts(&place, &old[index], block),
                None => self.push(format!("{place} added")),
            }
        }
        for block in old.iter().filter(|block| find(new, &block.path).is_none()) {
            let place = block.path.get(skip..).unwrap_or_default().join(".");
            self.push(format!("{place} removed"));
        }
    }

    fn facts(&mut self, place: &str, old: &Block, new: &Block) {
        let value = |block: &Block, key: &str| {
            block.facts.iter().find(|fact| fact.key == key).map(|fact| fact.value.clone())
        };
        let gone = old.facts.iter().filter(|fact| value(new, fact.key).is_none());
        let keys: Vec<&'static str> = new.facts.iter().chain(gone).map(|fact| fact.key).collect();
        // `passive = false` has a block of its own, which tells the change.
        for key in keys.into_iter().filter(|key| *key != "passive") {
            let name = if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
            match (value(old, key), value(new, key)) {
                (Some(Value::List(old)), Some(Value::List(new))) => self.lists(&name, &old, &new),
                (old, new) if old != new => {
                    self.push(format!("{name} {} → {}", shown(old.as_ref()), shown(new.as_ref())));
                }
                _ => {}
            }
        }
    }

    fn lists(&mut self, name: &str, old: &[Value], new: &[Value]) {
        let before = self.list.len();
        for value in new.iter().filter(|value| !old.contains(value)) {
            self.push(format!("{name} {} added", shown(Some(value))));
        }
        for value in old.iter().filter(|value| !new.contains(value)) {
            self.push(format!("{name} {} removed", shown(Some(value))));
        }
        if self.list.len() == before && old != new {
            self.push(format!("{name} reordered"));
        }
    }

    fn routes(&mut self, old: &[Route], new: &[Route]) {
        let by_when = |routes: &[Route]| -> HashMap<String, String> {
            routes.iter().map(|route| (when_text(route), action_text(&route.action))).collect()
        };
        let (before, after) = (by_when(old), by_when(new));
        for (when, action) in new.iter().map(|route| (when_text(route), action_text(&route.action))) {
            match before.get(&when) {
                None => self.push(format!("route {when} → {action} added")),
                Some(known) if *known != action => self.push(format!("route {when}: {known} → {action}")),
                Some(_) => {}
            }
        }
        for when in old.iter().map(when_text).filter(|when| !after.contains_key(when)) {
            self.push(format!("route {when} removed"));
        }
        let same =
            |route: &&Route| before.contains_key(&when_text(route)) && after.contains_key(&when_text(route));
        if !old.iter().filter(same).map(when_text).eq(new.iter().filter(same).map(when_text)) {
            self.push("routes reordered".into());
        }
    }

    fn targets(&mut self, old: &[Target], new: &[Target]) {
        let known: HashMap<_, _> = old.iter().map(|target| (address_key(&target.address), target)).collect();
        let kept: HashSet<_> = new.iter().map(|target| address_key(&target.address)).collect();
        for target in new {
            match known.get(&address_key(&target.address)) {
                None => self.push(format!("target {}{} added", target.address, extras(target))),
                Some(old) => self.target(old, target),
            }
        }
        for target in old.iter().filter(|target| !kept.contains(&address_key(&target.address))) {
            self.push(format!("target {} removed", target.address));
        }
        let stay = |all: &[Target]| -> Vec<_> {
            let keys = all.iter().map(|target| address_key(&target.address));
            keys.filter(|key| known.contains_key(key) && kept.contains(key)).collect()
        };
        if stay(old) != stay(new) {
            self.push("targets reordered".into());
        }
    }

    fn target(&mut self, old: &Target, new: &Target) {
        let address = &new.address;
        if old.weight != new.weight {
            self.push(format!("target {address} weight {} → {}", old.weight.as_u16(), new.weight.as_u16()));
        }
        if old.priority != new.priority {
            self.push(format!("target {address} priority {} → {}", old.priority, new.priority));
        }
        if old.max_connections != new.max_connections {
            let text = |limit: Option<u32>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
            let (old, new) = (text(old.max_connections), text(new.max_connections));
            self.push(format!("target {address} max_connections {old} → {new}"));
        }
    }
}

fn extras(target: &Target) -> String {
    let mut text = String::new();
    if target.weight != evenkeel_base::Weight::ONE {
        text.push_str(&format!(" (weight {})", target.weight.as_u16()));
    }
    if target.priority != 0 {
        text.push_str(&format!(" (priority {})", target.priority));
    }
    text
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "none".into(),
        Some(Value::Text(text)) if !text.is_empty() && !text.contains(char::is_whitespace) => text.clone(),
        Some(value) => value_text(value),
    }
}

fn when_text(route: &Route) -> String {
    let block = facts::route("", route);
    let when = block.facts.iter().find(|fact| fact.key == "when");
    when.map_or(String::new(), |fact| value_text(&fact.value))
}

fn action_text(action: &Action) -> String {
    match action {
        Action::Pool(pool) => format!("pool {pool}"),
        Action::Respond { status, body } if body.is_empty() => format!("respond {status}"),
        Action::Respond { status, body } => format!("respond {status} {body:?}"),
        Action::Redirect { to, status } => format!("redirect {status} {to}"),
    }
}

#[cfg(test)]
mod tests;
