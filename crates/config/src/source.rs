//! What a configuration refers to outside itself; its caller brings it in.

/// Files, environment and secrets, as far as a configuration names them.
pub trait Source {
    /// The files that an `include` pattern names, as name (for messages) and text, sorted by name.
    ///
    /// # Errors
    /// Why they could not be read, for the operator. No match is an empty list, not an error.
    fn include(&self, pattern: &str) -> Result<Vec<(String, String)>, String>;

    /// The value of an environment variable; `None` when it is unset or not text.
    fn env(&self, name: &str) -> Option<String>;

    /// The text of a file that holds a secret.
    ///
    /// # Errors
    /// Why it could not be read, for the operator.
    fn secret_file(&self, path: &str) -> Result<String, String>;
}

/// A source that has nothing: for texts that refer to nothing, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSource;

impl Source for NoSource {
    fn include(&self, _pattern: &str) -> Result<Vec<(String, String)>, String> {
        Err("files cannot be included here".into())
    }

    fn env(&self, _name: &str) -> Option<String> {
        None
    }

    fn secret_file(&self, _path: &str) -> Result<String, String> {
        Err("files cannot be read here".into())
    }
}
