//! Names and identities.

use std::fmt;
use std::sync::Arc;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The name was empty.
    Empty,
    /// The name was longer than [`MAX_NAME_BYTES`].
    TooLong,
    /// The name held this character, which is not a letter, digit, `-`, `_` or `.`.
    Character(char),
}

/// Longest name of a pool or listener, in bytes: it must fit a metric label and a table column.
pub const MAX_NAME_BYTES: usize = 64;

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name cannot be empty"),
            Self::TooLong => write!(f, "a name has at most {MAX_NAME_BYTES} characters"),
            Self::Character(c) => {
                write!(f, "a name is made of letters, digits, '-', '_' and '.', not {c:?}")
            }
        }
    }
}

impl std::error::Error for NameError {}

fn checked(name: &str) -> Result<Arc<str>, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(Arc::from(name)),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks and takes a name: letters, digits, `-`, `_`, `.`; 1 to 64 characters.
            pub fn new(name: &str) -> Result<Self, NameError> {
                checked(name).map(Self)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name of a pool, as written in `[pool.NAME]`.
    PoolName
}
name! {
    /// The name of a listener, as written in `[listener.NAME]`.
    ListenerName
}

/// Identity of a target for as long as the process lives; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// Index of a data worker: 0 up to the worker count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// Share of the work a target gets, relative to the other targets of its pool; 0 drains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight(u16);

impl Weight {
    /// The heaviest weight: ratios beyond 1:1000 are better said with two pools.
    pub const MAX: u16 = 1000;
    /// What a target weighs when nothing is said.
    pub const ONE: Self = Self(1);
    /// No new work: the target drains.
    pub const ZERO: Self = Self(0);

    /// A weight of 0 to [`Weight::MAX`]; `None` beyond.
    pub fn new(weight: u16) -> Option<Self> {
        (weight <= Self::MAX).then_some(Self(weight))
    }

    /// The weight as a number.
    pub fn as_u16(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_wrong_with_them() {
        assert_eq!(PoolName::new(""), Err(NameError::Empty));
        assert_eq!(PoolName::new("a b"), Err(NameError::Character(' ')));
        assert_eq!(PoolName::new(&"x".repeat(65)), Err(NameError::TooLong));
        assert_eq!(PoolName::new("web-1_b.c").unwrap().as_str(), "web-1_b.c");
    }

    #[test]
    fn weight_ends_at_its_limit() {
        assert_eq!(Weight::new(1000).map(Weight::as_u16), Some(1000));
        assert_eq!(Weight::new(1001), None);
    }
}
