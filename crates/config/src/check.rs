//! From the trees of all files to a checked [`Config`].

mod cross;
mod listener;
mod pool;
mod presets;
mod route;
mod top;

use std::collections::HashMap;

use toml::de::DeTable;

use crate::checked::{Admin, Config, Listener, Pool};
use crate::keys::TOP;
use crate::problem::Place;
use crate::read::{Cx, Named, Reader};

pub(crate) use pool::address_key;

/// A checked thing and the place of its name.
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A pool's name where it is used.
pub(crate) struct PoolUse {
    pub(crate) name: String,
    pub(crate) place: Place,
}

/// Reads all files as one. Problems go to `cx`; the result counts only when there are none.
pub(crate) fn config<'a>(cx: &'a Cx<'a>, files: &'a [(usize, DeTable<'a>)]) -> Option<Config> {
    let tops: Vec<Reader<'a>> = files
        .iter()
        .map(|(file, table)| {
            let place = Place { file: *file, span: 0..0 };
            Reader::open(cx, &TOP, table, place, String::new())
        })
        .collect();
    let first = tops.first()?;
    for key in TOP.keys.iter().filter(|key| !matches!(key.name, "listener" | "pool")) {
        top::written_once(cx, &tops, key.name);
    }
    let of = |name: &str| tops.iter().find(|top| top.has(name)).unwrap_or(first);

    let admin = top::admin(of("admin"));
    let pools = named(cx, &tops, "pool", pool::read);
    let mut uses = Vec::new();
    let mut binds = Vec::new();
    let listeners = named(cx, &tops, "listener", |named| listener::read(named, &mut uses, &mut binds));
    cross::check(cx, &pools, &listeners, &uses);
    cross::binds(cx, &binds, admin.as_ref().map(|admin: &Placed<Admin>| (&admin.value.bind, &admin.place)));

    let config = Config {
        admin: admin.map(|admin| admin.value),
        workers: top::workers(of("workers")),
        grace: of("grace").duration("grace"),
        pid_file: of("pid_file").plain("pid_file").map(Into::into),
        watch: of("watch").flag("watch"),
        resolver: top::resolver(of("resolver")),
        access_log: top::access_log(of("access_log")),
        listeners: listeners.into_iter().map(|l: Placed<Listener>| l.value.into()).collect(),
        pools: pools.into_iter().map(|p: Placed<Pool>| p.value.into()).collect(),
    };
    cross::something_to_do(cx, &config);
    Some(config)
}

/// The named tables of one kind over all files; the first of two that share a name counts.
fn named<'a, T>(
    cx: &Cx<'_>,
    tops: &[Reader<'a>],
    kind: &str,
    mut read: impl FnMut(&Named<'a>) -> Option<T>,
) -> Vec<Placed<T>> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut all = Vec::new();
    for top in tops {
        for table in top.named(kind) {
            let file = table.place.file;
            if let Some(other) = seen.insert(table.name, file) {
                let other = cx.names.borrow().get(other).cloned().unwrap_or_default();
                let advice =
                    format!("another {kind} of this name is in {other}; names are unique over all files");
                cx.problem(
                    &table.place,
                    format!("the {kind} {:?} is defined twice", table.name),
                    Some(advice),
                );
            }
            if let Some(value) = read(&table) {
                all.push(Placed { value, place: table.place });
            }
        }
    }
    all
}
