//! What every brain costs by the clock: `cargo bench -p evenkeel-benches`, and with a brain's name behind `--` that one
//! alone. Times are of this machine and this moment; what CI holds on to are the instructions (`instructions.toml`).
#![allow(clippy::unwrap_used)] // clippy does not take benches for tests

mod balance;
mod config;
mod flow;
mod health;
mod route;
mod state;
mod wire;

fn main() {
    divan::main();
}

/// A size: as it is when it is measured, and at most `test` when it is only tried out.
fn size(measured: usize, test: usize) -> usize {
    let is_measured = std::env::args().any(|word| word == "--bench");
    if is_measured { measured } else { measured.min(test) }
}
