//! What can be asked for.
//!
//! A field that is there holds a value: null is refused, except where it has a meaning of its own. A blank that
//! slips through as "nothing said" is how one empty field of a policy took a whole cloud down.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::words::words;

words! {
    /// What an operator wants of a target.
    Duty {
        /// Serve.
        Enabled "enabled",
        /// Finish what is there, keep remembered clients; take nothing else.
        Draining "draining",
        /// Take nothing.
        Disabled "disabled",
    }
}

/// The body of `POST pools/{pool}/targets`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTarget {
    /// `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`.
    #[schema(examples("10.0.0.7:8080"))]
    pub address: String,
    /// Its share, 0 to 1000; 1 when left out.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, maximum = 1000)]
    pub weight: Option<u16>,
    /// Lower is preferred, 0 to 1000; 0 when left out.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, maximum = 1000)]
    pub priority: Option<u16>,
    /// Requests or connections at once, 1 to 10,000,000; unlimited when left out.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 10_000_000)]
    pub max_connections: Option<u32>,
    /// Write it to the configuration file as well; comments there are kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub save: bool,
}

/// The body of `PATCH pools/{pool}/targets/{target}`; what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditTarget {
    /// New share, 0 to 1000; 0 drains.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, maximum = 1000)]
    pub weight: Option<u16>,
    /// New priority, 0 to 1000; lower is preferred.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, maximum = 1000)]
    pub priority: Option<u16>,
    /// New limit, 1 to 10,000,000; null lifts it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_000_000)]
    pub max_connections: Option<Option<u32>>,
    /// Serve, drain, or pause. Lasts until it is changed or the process ends; it is no part of the file.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub state: Option<Duty>,
    /// Write weight, priority and limit to the configuration file as well; comments there are kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub save: bool,
}

impl EditTarget {
    /// Whether it asks for no change at all.
    pub fn is_empty(&self) -> bool {
        let Self { weight, priority, max_connections, state, save: _ } = self;
        weight.is_none() && priority.is_none() && max_connections.is_none() && state.is_none()
    }
}

/// What a new configuration changes, or would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// One line each; empty when both mean the same.
    pub changes: Vec<String>,
    /// Whether some of them take effect only in a new process.
    pub needs_restart: bool,
}

/// The field is there, so it has a value; null has none (unless `T` says otherwise).
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str) -> Result<EditTarget, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_is_kept_set_or_lifted() {
        assert_eq!(edit("{}").unwrap().max_connections, None);
        assert_eq!(edit(r#"{"max_connections": 5}"#).unwrap().max_connections, Some(Some(5)));
        assert_eq!(edit(r#"{"max_connections": null}"#).unwrap().max_connections, Some(None));
    }

    #[test]
    fn what_is_left_out_is_not_written_and_what_is_lifted_is() {
        let lift =
            EditTarget { max_connections: Some(None), state: Some(Duty::Draining), ..Default::default() };
        let text = serde_json::to_string(&lift).unwrap();
        assert_eq!(text, r#"{"max_connections":null,"state":"draining"}"#);
        assert_eq!(edit(&text).unwrap(), lift);
        let new = NewTarget { address: "a:1".into(), ..Default::default() };
        assert_eq!(serde_json::to_string(&new).unwrap(), r#"{"address":"a:1"}"#);
    }

    #[test]
    fn null_and_unknown_fields_are_refused() {
        for text in [
            r#"{"weight": null}"#,
            r#"{"priority": null}"#,
            r#"{"state": null}"#,
            r#"{"save": null}"#,
            r#"{"wieght": 1}"#,
            r#"{"weight": 1, "weight": 2}"#,
            r#"{"state": "asleep"}"#,
            r#"{"state": {"draining": null}}"#,
            r#"{"state": 1}"#,
        ] {
            assert!(edit(text).is_err(), "{text}");
        }
        for text in [r#"{"address": null}"#, r#"{}"#, r#"{"address": "a:1", "max_connections": null}"#] {
            assert!(serde_json::from_str::<NewTarget>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_edit_that_says_nothing_is_empty() {
        assert!(edit(r#"{"save": true}"#).unwrap().is_empty());
        assert!(!edit(r#"{"max_connections": null}"#).unwrap().is_empty());
    }
}
