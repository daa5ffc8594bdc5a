//! Counters of pools.

use std::sync::Arc;

use evenkeel_state::{Pool, Snapshot, Standing};

use super::text::{Kind, Labels, Text};
use crate::handlers::listing::ordered;

pub(super) fn write(text: &mut Text, snapshot: &Snapshot) {
    let pools: Vec<(Labels, &Arc<Pool>)> =
        ordered(snapshot).map(|pool| (Labels::new().with("pool", pool.name().as_str()), pool)).collect();
    let help = "Targets by their state, emergency targets left out.";
    text.family("evenkeel_pool_targets", Kind::Gauge, help);
    for (labels, pool) in &pools {
        let members = pool.targets.iter().filter(|target| !target.emergency);
        let standings: Vec<&str> = members.map(|target| target.standing().as_str()).collect();
        for word in Standing::WORDS {
            let count = standings.iter().filter(|standing| **standing == word).count();
            text.sample(&labels.clone().with("state", word), count);
        }
    }
    let help = "Requests or connections that wait for a target with room.";
    text.family("evenkeel_pool_waiting", Kind::Gauge, help);
    for (labels, pool) in &pools {
        text.sample(labels, pool.live.waiting());
    }
    text.family("evenkeel_pool_clients", Kind::Gauge, "Clients that are remembered (pools with affinity).");
    for (labels, pool) in &pools {
        if let Some(clients) = &pool.clients {
            text.sample(labels, clients.len());
        }
    }
}
