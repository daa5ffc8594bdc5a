//! What only the whole configuration shows: dangling names, addresses taken twice, totals.

use std::collections::HashMap;
use std::net::IpAddr;

use evenkeel_base::BindAddr;

use super::listener::Bind;
use super::{Placed, PoolUse};
use crate::checked::{Config, Listener, Pool};
use crate::limits::{MAX_LISTENERS, MAX_POOLS, MAX_ROUTES};
use crate::problem::Place;
use crate::read::Cx;
use crate::suggest::nearest;

/// Totals, and pools that are named but not there.
pub(super) fn check(cx: &Cx<'_>, pools: &[Placed<Pool>], listeners: &[Placed<Listener>], uses: &[PoolUse]) {
    let routes = listeners.iter().map(|listener| listener.value.routes.len()).sum::<usize>();
    let beyond = |kept: usize| listeners.get(kept).map(|l| &l.place);
    too_many(cx, "listeners", listeners.len(), MAX_LISTENERS, beyond(MAX_LISTENERS));
    too_many(cx, "pools", pools.len(), MAX_POOLS, pools.get(MAX_POOLS).map(|p| &p.place));
    too_many(cx, "routes", routes, MAX_ROUTES, listeners.last().map(|l| &l.place));
    unknown_pools(cx, pools, uses);
}

/// A configuration without listeners would take away all there are.
pub(super) fn something_to_do(cx: &Cx<'_>, config: &Config) {
    // Whatever else is wrong may be why there is none.
    if config.listeners.is_empty() && !cx.has_problems() {
        let advice = "add a [listener.NAME] with bind, protocol and pool";
        cx.problem(&Place::default(), "there is nothing to listen on", Some(advice.into()));
    }
}

fn too_many(cx: &Cx<'_>, what: &str, count: usize, most: usize, place: Option<&Place>) {
    if count > most {
        let place = place.cloned().unwrap_or_default();
        cx.problem(&place, format!("there are {count} {what}"), Some(format!("there may be {most}")));
    }
}

fn unknown_pools(cx: &Cx<'_>, pools: &[Placed<Pool>], uses: &[PoolUse]) {
    if cx.is_incomplete.get() {
        return;
    }
    let known: HashMap<&str, ()> = pools.iter().map(|pool| (pool.value.name.as_str(), ())).collect();
    for PoolUse { name, place } in uses.iter().filter(|using| !known.contains_key(using.name.as_str())) {
        let names = pools.iter().map(|pool| pool.value.name.as_str());
        let near = if cx.is_full() { None } else { nearest(name, names) };
        let advice = near.map_or_else(
            || format!("add [pool.{name}] with its targets"),
            |near| format!("did you mean {near:?}?"),
        );
        cx.problem(place, format!("there is no pool {name:?}"), Some(advice));
    }
}

/// Addresses that two listeners, or a listener and the admin API, would share.
pub(super) fn binds(cx: &Cx<'_>, binds: &[Bind], admin: Option<(&BindAddr, &Place)>) {
    let mut taken: HashMap<BindAddr, String> = HashMap::new();
    if let Some((address, _)) = admin {
        for form in forms(address) {
            taken.insert(form, "the admin API".to_owned());
        }
    }
    for bind in binds {
        let owner = format!("listener {:?}", bind.owner);
        let other = forms(&bind.address).into_iter().find_map(|form| taken.get(&form).cloned());
        if let Some(other) = other {
            let whose = if other == owner { "this listener".to_owned() } else { other };
            let advice = Some("each address is listened on once".to_owned());
            cx.problem(&bind.place, format!("{} is already listened on by {whose}", bind.address), advice);
        }
        for form in forms(&bind.address) {
            taken.entry(form).or_insert_with(|| owner.clone());
        }
    }
}

/// The addresses that one takes: `:80` is `0.0.0.0:80` and `[::]:80`. With port 0 the kernel finds a free one.
fn forms(address: &BindAddr) -> Vec<BindAddr> {
    match address {
        BindAddr::Any(0) => Vec::new(),
        BindAddr::Ip(addr) if addr.port() == 0 => Vec::new(),
        BindAddr::Any(port) => {
            let of = |ip: IpAddr| BindAddr::Ip((ip, *port).into());
            vec![of([0; 4].into()), of([0_u16; 8].into())]
        }
        other => vec![other.clone()],
    }
}
