//! The instruments, held against each other: what measures the product must itself be able to fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, helpers included, stop at the first surprise"
)]

mod judge;
mod link;
mod load;
mod origin;
mod process;
mod udp;
