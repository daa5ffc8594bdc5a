//! Adding, changing, draining and removing targets.
//!
//! A change is checked whole, made, and then, when asked, written to the file. One that cannot be saved is told
//! as such, since it is live.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use evenkeel_api::{Duty, EditTarget, ErrorBody, NewTarget, Target};
use evenkeel_base::{PoolName, Reason, TargetAddr, Weight};
use evenkeel_config::limits::{MAX_CONNECTIONS, MAX_PRIORITY};
use evenkeel_state::TargetEdit;
use serde::Deserialize;

use crate::app::{App, Peer};
use crate::control::{Refusal, SavedEdit};
use crate::extract::{Nothing, Object, Params, Segments, bad_input, flag};
use crate::handlers::listing::{NoParams, address};
use crate::handlers::{Answer, Shared};
use crate::view;

/// Adds a target; it gets work at once, or as soon as probes find it up.
#[utoipa::path(post, path = "/api/v1/pools/{pool}/targets", operation_id = "add_target", tag = "changes",
    params(("pool" = String, Path, description = "The pool's name")),
    request_body = NewTarget,
    responses(
        (status = 201, description = "It is there.", body = Target),
        (status = 400, description = "Malformed; nothing was changed.", body = ErrorBody),
        (status = 404, description = "An unknown pool.", body = ErrorBody),
        (status = 409, description = "The pool has that target already.", body = ErrorBody),
        (status = 500, description = "It is there, but could not be saved.", body = ErrorBody),
    ))]
pub(crate) async fn add(
    State(app): Shared,
    Extension(peer): Extension<Peer>,
    Segments(pool): Segments<String>,
    Params(NoParams {}): Params<NoParams>,
    Object(new): Object<NewTarget>,
) -> Answer<(StatusCode, Json<Target>)> {
    let save = new.save;
    let target = checked(new)?;
    let address = target.address.clone();
    let result = app.add(&pool, target, save).await;
    app.record(&peer, "add-target", &format!("{pool} {address}"), result)?;
    Ok((StatusCode::CREATED, app.shown(&pool, &address)?))
}

/// Changes a target's share, limit or state.
#[utoipa::path(patch, path = "/api/v1/pools/{pool}/targets/{target}", operation_id = "edit_target", tag = "changes",
    params(
        ("pool" = String, Path, description = "The pool's name"),
        ("target" = String, Path, description = "The target's address, percent-encoded"),
    ),
    request_body = EditTarget,
    responses(
        (status = 200, body = Target),
        (status = 400, description = "Malformed; nothing was changed.", body = ErrorBody),
        (status = 404, description = "An unknown pool or target.", body = ErrorBody),
        (status = 500, description = "Changed, but could not be saved.", body = ErrorBody),
    ))]
pub(crate) async fn edit(
    State(app): Shared,
    Extension(peer): Extension<Peer>,
    Segments((pool, target)): Segments<(String, String)>,
    Params(NoParams {}): Params<NoParams>,
    Object(edit): Object<EditTarget>,
) -> Answer<Json<Target>> {
    let address = address(&target)?;
    let save = edit.save;
    let edit = checked_edit(&edit)?;
    let result = app.edit(&pool, &address, edit, save).await;
    app.record(&peer, "edit-target", &format!("{pool} {address}"), result)?;
    app.shown(&pool, &address)
}

/// No new work for this target; what is there is finished, and remembered clients are kept. The answer comes at
/// once: follow `in_flight` until it is 0.
#[utoipa::path(post, path = "/api/v1/pools/{pool}/targets/{target}/drain", operation_id = "drain_target", tag = "changes",
    params(
        ("pool" = String, Path, description = "The pool's name"),
        ("target" = String, Path, description = "The target's address, percent-encoded"),
    ),
    responses(
        (status = 200, body = Target),
        (status = 404, description = "An unknown pool or target.", body = ErrorBody),
    ))]
pub(crate) async fn drain(
    State(app): Shared,
    Extension(peer): Extension<Peer>,
    Segments((pool, target)): Segments<(String, String)>,
    Params(NoParams {}): Params<NoParams>,
    Nothing: Nothing,
) -> Answer<Json<Target>> {
    let address = address(&target)?;
    let edit = TargetEdit { duty: Some(evenkeel_state::Duty::Draining), ..TargetEdit::default() };
    let result = app.edit(&pool, &address, edit, false).await;
    app.record(&peer, "drain-target", &format!("{pool} {address}"), result)?;
    app.shown(&pool, &address)
}

/// Whether to save.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SaveQuery {
    /// `1`: remove it from the configuration file as well; comments there are kept.
    #[serde(default, deserialize_with = "flag")]
    #[param(required = false)]
    save: bool,
}

/// Removes a target. What it is doing is finished; nothing new goes there.
#[utoipa::path(delete, path = "/api/v1/pools/{pool}/targets/{target}", operation_id = "remove_target", tag = "changes",
    params(
        ("pool" = String, Path, description = "The pool's name"),
        ("target" = String, Path, description = "The target's address, percent-encoded"),
        SaveQuery,
    ),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "An unknown pool or target.", body = ErrorBody),
        (status = 500, description = "It is gone, but this could not be saved.", body = ErrorBody),
    ))]
pub(crate) async fn remove(
    State(app): Shared,
    Extension(peer): Extension<Peer>,
    Segments((pool, target)): Segments<(String, String)>,
    Params(query): Params<SaveQuery>,
    Nothing: Nothing,
) -> Answer<StatusCode> {
    let address = address(&target)?;
    let result = app.remove(&pool, &address, query.save).await;
    app.record(&peer, "remove-target", &format!("{pool} {address}"), result)?;
    Ok(StatusCode::NO_CONTENT)
}

impl App {
    async fn add(&self, pool: &str, target: evenkeel_config::Target, save: bool) -> Answer<()> {
        let name = self.changeable(pool, save)?;
        let emergency = self.pool(pool)?.config.emergency.clone();
        if emergency.as_ref() == Some(&target.address) {
            let message = format!("{} is the pool's emergency target", target.address);
            return Err(Refusal::new(Reason::AlreadyExists, message).at("address"));
        }
        self.registry.add_target(pool, target.clone())?;
        self.save(save, SavedEdit::Add { pool: name, target }).await
    }

    async fn edit(&self, pool: &str, address: &TargetAddr, edit: TargetEdit, save: bool) -> Answer<()> {
        let name = self.changeable(pool, save)?;
        self.registry.edit_target(pool, address, edit)?;
        let TargetEdit { weight, priority, max_connections, duty: _ } = edit;
        let address = address.clone();
        self.save(save, SavedEdit::Set { pool: name, address, weight, priority, max_connections }).await
    }

    async fn remove(&self, pool: &str, address: &TargetAddr, save: bool) -> Answer<()> {
        let name = self.changeable(pool, save)?;
        self.registry.remove_target(pool, address)?;
        self.save(save, SavedEdit::Remove { pool: name, address: address.clone() }).await
    }

    /// The pool's name, once it is sure that there is a pool, and a file to save to if that is asked for.
    fn changeable(&self, pool: &str, save: bool) -> Answer<PoolName> {
        if save && self.control.facts().config_file.is_none() {
            let message = "there is no configuration file to save to; nothing was changed";
            return Err(bad_input(message).at("save"));
        }
        Ok(self.pool(pool)?.name().clone())
    }

    async fn save(&self, save: bool, edit: SavedEdit) -> Answer<()> {
        if !save {
            return Ok(());
        }
        self.control.save(edit).await.map_err(|refusal| match refusal.reason {
            Reason::SaveFailed => refusal,
            _ => Refusal {
                reason: Reason::SaveFailed,
                message: format!("the change is live, but could not be saved: {}", refusal.message),
                ..refusal
            },
        })
    }

    fn shown(&self, pool: &str, address: &TargetAddr) -> Answer<Json<Target>> {
        let pool = self.pool(pool)?;
        let found = pool.targets.iter().find(|target| target.address == *address);
        let gone = || Refusal::new(Reason::NotFound, "the target was changed, and is gone by now");
        found.map(|target| Json(view::target(&pool, target))).ok_or_else(gone)
    }
}

fn checked(new: NewTarget) -> Answer<evenkeel_config::Target> {
    let NewTarget { address, weight, priority, max_connections, save: _ } = new;
    Ok(evenkeel_config::Target {
        address: address
            .parse()
            .map_err(|error: evenkeel_base::AddrError| bad_input(error.to_string()).at("address"))?,
        weight: weight.map_or(Ok(Weight::ONE), checked_weight)?,
        priority: priority.map_or(Ok(0), checked_priority)?,
        max_connections: max_connections.map(checked_limit).transpose()?,
    })
}

fn checked_edit(edit: &EditTarget) -> Answer<TargetEdit> {
    if edit.is_empty() {
        return Err(bad_input("the body asks for no change: weight, priority, max_connections or state"));
    }
    if edit.save && edit.state.is_some() {
        let message = "the state of a target is no part of the file; save weight = 0 to drain it for good";
        return Err(bad_input(message).at("save"));
    }
    Ok(TargetEdit {
        weight: edit.weight.map(checked_weight).transpose()?,
        priority: edit.priority.map(checked_priority).transpose()?,
        max_connections: edit
            .max_connections
            .map(|limit| limit.map(checked_limit).transpose())
            .transpose()?,
        duty: edit.state.map(|state| match state {
            Duty::Enabled => evenkeel_state::Duty::Enabled,
            Duty::Draining => evenkeel_state::Duty::Draining,
            Duty::Disabled => evenkeel_state::Duty::Disabled,
        }),
    })
}

fn checked_weight(weight: u16) -> Answer<Weight> {
    let refuse = || bad_input(format!("a weight is 0 to {}, not {weight}", Weight::MAX)).at("weight");
    Weight::new(weight).ok_or_else(refuse)
}

fn checked_priority(priority: u16) -> Answer<u16> {
    if u64::from(priority) > MAX_PRIORITY {
        return Err(bad_input(format!("a priority is 0 to {MAX_PRIORITY}, not {priority}")).at("priority"));
    }
    Ok(priority)
}

fn checked_limit(limit: u32) -> Answer<u32> {
    if limit == 0 || u64::from(limit) > MAX_CONNECTIONS {
        let message = format!("max_connections is 1 to {MAX_CONNECTIONS}, not {limit}");
        return Err(bad_input(message).at("max_connections"));
    }
    Ok(limit)
}
