//! What is done to a serving Evenkeel.

use super::admin;
use super::house::House;
use super::plan::Fault;
use crate::shell::Outcome;

/// What was done, and what went wrong in doing it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) kills: u64,
    pub(super) reloads: u64,
    pub(super) weights: u64,
    /// Targets added and removed.
    pub(super) members: u64,
    /// Answers of the admin API that should not be, and reloads without effect.
    pub(super) trouble: Vec<String>,
}

/// Does it. A refusal by the API is noted; a process that cannot be started ends the test.
pub(super) fn inject(house: &mut House<'_>, fault: Fault) -> Outcome {
    match fault {
        Fault::Reload => {
            house.reconfigure()?;
            house.process.send("HUP");
            house.done.reloads += 1;
        }
        Fault::Kill(number) => {
            if let Some(origin) = house.origins[number].1.take() {
                origin.kill();
                house.done.kills += 1;
            }
        }
        Fault::Restart(number) => house.restart(number)?,
        Fault::Weight(number, weight) => {
            let path = admin::target_path(house.origins[number].0);
            house.done.weights += 1;
            change(house, "PATCH", &path, &format!("{{\"weight\":{weight}}}"));
        }
        Fault::Add | Fault::Remove => {
            // The one behind those of the configuration.
            let spare = house.origins.last().map(|(address, _)| *address).ok_or("no spare target")?;
            house.done.members += 1;
            if fault == Fault::Add {
                let body = format!("{{\"address\":\"{spare}\",\"weight\":2}}");
                change(house, "POST", "/api/v1/pools/app/targets", &body);
            } else {
                change(house, "DELETE", &admin::target_path(spare), "");
            }
        }
    }
    Ok(())
}

fn change(house: &mut House<'_>, method: &str, path: &str, body: &str) {
    let trouble = match admin::ask(&house.admin, method, path, body) {
        Ok(answer) if is_fine(answer.status) => return,
        Ok(answer) => format!("{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)),
        Err(message) => message,
    };
    house.done.trouble.push(trouble);
}

/// A reload in between may have taken a target away, or kept it.
fn is_fine(status: u16) -> bool {
    (200..300).contains(&status) || matches!(status, 404 | 409)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_reload_explains_is_fine() {
        assert!([200, 201, 204, 404, 409].into_iter().all(is_fine));
        assert!(![400, 401, 500, 503].into_iter().any(is_fine));
    }
}
