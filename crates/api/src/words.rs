//! Closed vocabularies, and what is said of a word that is not among them.

use std::fmt;

/// A word that is not one of those known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    /// What was written.
    pub word: String,
    /// What may be written.
    pub known: &'static [&'static str],
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {:?}; known are {}", self.word, self.known.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

/// An enum of words: the same text in JSON, on the command line and in tables.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, utoipa::ToSchema,
        )]
        pub enum $type {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $type {
            /// Every word, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($text,)*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            // Derived, it would take `{"word": null}` for the word, too.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownWord> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::UnknownWord { word: text.to_owned(), known: Self::WORDS }),
                }
            }
        }
    };
}

pub(crate) use words;
