//! Where the admin API is, and the token it asks for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use evenkeel_base::BindAddr;
use hyper::Uri;
use hyper::header::HeaderValue;

/// Names the address, where the command line does not.
const ADDRESS_VARIABLE: &str = "EVENKEEL_ADMIN";
/// Holds the token, where the command line does not.
pub(super) const TOKEN_VARIABLE: &str = "EVENKEEL_ADMIN_TOKEN";
/// Where a process listens that was told nothing else.
const DEFAULT: &str = "http://127.0.0.1:9900";

/// Where the admin API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiUrl {
    /// `http://HOST:PORT`, perhaps with a path behind which another proxy keeps it.
    Tcp {
        /// Host and port.
        host: String,
        /// Empty, or `/path` without a final slash.
        prefix: String,
    },
    /// `unix:/path`.
    Unix(PathBuf),
}

impl ApiUrl {
    /// From the environment, or the default.
    ///
    /// # Errors
    /// What is wrong with the variable.
    pub(super) fn from_environment() -> Result<Self, String> {
        let text = std::env::var(ADDRESS_VARIABLE).unwrap_or_default();
        let text = if text.is_empty() { DEFAULT } else { &text };
        // The text itself is not repeated: people put passwords into addresses.
        text.parse().map_err(|error| format!("{ADDRESS_VARIABLE} is no address of an admin API: {error}"))
    }

    /// The Host field; for TCP also where to connect.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "localhost",
        }
    }

    /// What stands before every path.
    pub(super) fn prefix(&self) -> &str {
        match self {
            Self::Tcp { prefix, .. } => prefix,
            Self::Unix(_) => "",
        }
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, prefix } => write!(f, "http://{host}{prefix}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ApiUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write http://HOST:PORT or unix:/path";
        if text.starts_with("unix:") {
            return match text.parse() {
                Ok(BindAddr::Unix(path)) => Ok(Self::Unix(path)),
                Ok(_) => Err(FORM.to_owned()),
                Err(error) => Err(error.to_string()),
            };
        }
        if text.starts_with("https:") {
            return Err(
                "the admin API speaks no TLS; write http://HOST:PORT, or reach it through a tunnel".into()
            );
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        if rest.contains("://") {
            return Err(FORM.to_owned());
        }
        let uri: Uri = format!("http://{rest}").parse().map_err(|_| FORM.to_owned())?;
        let authority = uri.authority().ok_or(FORM)?;
        if authority.as_str().contains('@') {
            return Err("an address carries no user; the token goes into EVENKEEL_ADMIN_TOKEN".into());
        }
        if authority.port_u16().is_none_or(|port| port == 0) {
            return Err(format!("the port is missing; {FORM}"));
        }
        if uri.query().is_some() || authority.host().is_empty() {
            return Err(FORM.to_owned());
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self::Tcp { host: authority.as_str().to_owned(), prefix })
    }
}

/// The admin token. Its text leaves only in the request's own field, never on a screen.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// From the environment; an empty variable is none.
    pub(super) fn from_environment() -> Option<Self> {
        let value = std::env::var_os(TOKEN_VARIABLE)?;
        // What is not text keeps a replacement for it, which is refused as what HTTP cannot carry.
        value.to_string_lossy().parse().ok()
    }

    /// The value of the Authorization field; none when HTTP cannot carry it.
    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        if !self.0.is_ascii() {
            return None;
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The white space that `$(cat file)` or an editor leaves around it is no part of it.
        let text = text.trim();
        if text.is_empty() { Err("the token is empty") } else { Ok(Self(text.to_owned())) }
    }
}
