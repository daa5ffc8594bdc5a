//! What the stories share: the binary, and configurations in a few words.

use std::fmt::Display;

use evenkeel_testkit::Evenkeel;

/// The binary under test.
pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_evenkeel");

/// Starts the balancer with this configuration.
pub(crate) fn start(config: &str) -> Evenkeel {
    Evenkeel::start(BIN, config)
}

/// An HTTP listener `web` before a pool `app` with these targets; `more` goes into `[pool.app]` and behind it.
pub(crate) fn http<T: Display>(targets: &[T], more: &str) -> String {
    listener("http", targets, more)
}

/// A TCP listener `web` before a pool `app` with these targets.
pub(crate) fn tcp<T: Display>(targets: &[T], more: &str) -> String {
    listener("tcp", targets, more)
}

fn listener<T: Display>(protocol: &str, targets: &[T], more: &str) -> String {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    format!(
        "[workers]\ncount = 2\n[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\npool = \"app\"\n\
         [pool.app]\ntargets = [{}]\n{more}\n",
        targets.join(", ")
    )
}
