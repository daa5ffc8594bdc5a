//! Instruments for the end-to-end tests and the bench: load, origins, faults and the verdict over them.
//!
//! Owns: an origin that writes down what it executed, a client that writes down what it got, the judge that
//! compares both, faulty links, the process under test, peers, and network namespaces. Never shipped.
//!
//! Does not know: any crate of the product but the seeded random numbers of `base`. What it says about HTTP
//! is written anew here on purpose, so that a mistake of the product is not repeated by its test.
//!
//! ```no_run
//! use evenkeel_testkit::{Evenkeel, Load, LoadPlan, Origin, judge};
//! let (mut a, b) = (Origin::start("a"), Origin::start("b"));
//! let config = format!(
//!     "[listener.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\npool = \"app\"\n\
//!      [pool.app]\ntargets = [\"{}\", \"{}\"]\n",
//!     a.addr(), b.addr());
//! let proxy = Evenkeel::start("target/debug/evenkeel", &config);
//! let load = Load::start(proxy.listener_addr("web"), LoadPlan { connections: 8, ..LoadPlan::default() });
//! load.wait_answers(1000);
//! a.kill();
//! load.wait_answers(1000);
//! let verdict = judge(&load.stop(), &[a.journal(), b.journal()]);
//! verdict.assert_none_lost("F01");
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "an instrument that fails must stop the test that holds it, loudly; no user ever runs this crate"
)]

mod body;
mod client;
mod evenkeel;
mod http;
mod judge;
mod link;
mod netns;
mod origin;
mod process;
mod stream;
mod tools;
mod udp_link;
mod websocket;

pub use body::{BodyCheck, hash};
pub use client::{ClientJournal, Load, LoadPlan, Outcome, Record, is_idempotent};
pub use evenkeel::{Evenkeel, Failed, Launch};
pub use http::{Cause, Framing, Head, ReadError, Response, Wire, raw_exchange, read_response};
pub use judge::{Fault, Offence, Rules, Verdict, judge, judge_by};
pub use link::{Link, LinkPlan, Way};
pub use netns::{Netns, have_namespaces};
pub use origin::{
    AfterScript, AnswerStyle, Behaviour, Cut, Early, Entry, Hang, OnExpect, Origin, OriginJournal,
};
pub use process::Running;
pub use stream::{Addr, Stream};
pub use tools::{Nginx, Peer, Ready, ReservedPort, TempDir, free_udp_port, have, reserve_port, wait_until};
pub use udp_link::{Fate, Fates, UdpLink, UdpPlan};
pub use websocket::WebSocket;

/// The signals a test sends, named as in `libc`.
pub mod signal {
    pub use libc::{SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2};
}
