//! The body of the fuzz target `config`, also run on seeded mutations by an ordinary test.

use crate::{NoSource, diff, load, to_toml};

/// Any bytes are a configuration or a list of problems, never a panic; a configuration prints as one that means the
/// same.
#[doc(hidden)]
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match load(text, "fuzz.toml", &NoSource) {
        Ok(config) => {
            let printed = to_toml(&config);
            let again = load(&printed, "printed.toml", &NoSource);
            assert!(again.as_ref() == Ok(&config), "not the same again:\n{printed}\n{again:?}");
            assert!(diff(&config, &config).is_empty(), "a configuration differs from itself:\n{printed}");
        }
        Err(problems) => {
            assert!(!problems.list.is_empty(), "refused without a reason");
            for problem in &problems.list {
                assert!(problem.line > 0 && problem.column > 0, "{problem}");
                assert!(text.get(problem.span.clone()).is_some(), "{problem}: {:?}", problem.span);
            }
            assert!(!problems.render(false).contains('\u{1b}'), "an escape of the file reached the terminal");
        }
    }
}
