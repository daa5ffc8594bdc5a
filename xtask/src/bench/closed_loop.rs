//! What most rows do: wrk keeps every connection busy, and the CPU of the proxy is counted.

use super::load::{self, Loaded};
use super::measure::{Sample, Usage, Used};
use super::origin::Count;
use super::rows::Column;
use super::stand::Stand;
use super::syscalls::{self, Calls};
use crate::shell::Outcome;

/// The figure that is compared.
pub(crate) const COST: Column = Column { head: "CPU µs/request", digits: 2 };

/// What `measure` gives.
pub(crate) const COLUMNS: &[Column] = &[
    COST,
    Column { head: "requests/s", digits: 0 },
    Column { head: "MiB/s", digits: 0 },
    Column { head: "p50 ms", digits: 2 },
    Column { head: "p99 ms", digits: 2 },
    Column { head: "p99.9 ms", digits: 2 },
    Column { head: "peak MiB", digits: 1 },
];

/// Longest run under `strace`: it slows everything down, and the count per request does not change.
const MAX_TRACED: u32 = 3;

/// What was done, and what it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) loaded: Loaded,
    pub(crate) used: Used,
}

/// One run, from starting the peer to stopping it.
pub(crate) fn measure(stand: &Stand<'_>) -> Outcome<Sample> {
    let Run { loaded, used } = run(stand)?;
    let requests = loaded.requests as f64;
    let seconds = loaded.duration_us as f64 / 1e6;
    let bytes = loaded.bytes + loaded.requests * stand.work.upload as u64;
    let values = vec![
        used.cpu_us / requests,
        requests / seconds,
        bytes as f64 / (1024.0 * 1024.0) / seconds,
        loaded.p50_us as f64 / 1e3,
        loaded.p99_us as f64 / 1e3,
        loaded.p999_us as f64 / 1e3,
        used.peak_mib,
    ];
    Ok(Sample { values, busy: Some(used.busy), errors: loaded.errors })
}

/// The same for rows with columns of their own.
pub(crate) fn run(stand: &Stand<'_>) -> Outcome<Run> {
    let proxy = stand.start()?;
    load::check_answer(proxy.address, stand.work.body)?;
    stand.warm_up(proxy.address)?;
    let counted = stand.origin.count()?;
    let before = Usage::now(&proxy.process, stand.cores)?;
    let loaded = stand.load(proxy.address).run(stand.seconds)?;
    let used = Usage::now(&proxy.process, stand.cores)?.since(&before, stand.cores)?;
    if loaded.requests == 0 || loaded.duration_us == 0 {
        return Err("not one request was answered".to_owned());
    }
    if let (Some(before), Some(after)) = (counted, stand.origin.count()?) {
        check_count(before, after, &loaded, stand.work.upload as u64)?;
    }
    Ok(Run { loaded, used })
}

/// System calls of the peer while it is loaded; it does not run for the table then.
pub(crate) fn calls(stand: &Stand<'_>) -> Outcome<Calls> {
    let proxy = stand.start()?;
    load::check_answer(proxy.address, stand.work.body)?;
    stand.warm_up(proxy.address)?;
    let tracer = syscalls::attach(stand, &proxy.process)?;
    let loaded = stand.load(proxy.address).run(stand.seconds.min(MAX_TRACED));
    tracer.finish(loaded?.requests)
}

/// Every byte of every request arrived. Requests cut by the end of the load may have arrived without being answered.
fn check_count(before: Count, after: Count, loaded: &Loaded, size: u64) -> Outcome {
    let requests = after.requests - before.requests;
    let bytes = after.bytes - before.bytes;
    if requests < loaded.requests {
        return Err(format!("{} requests were answered, and the origin saw {requests}", loaded.requests));
    }
    if bytes != requests * size {
        return Err(format!("the origin read {bytes} bytes in {requests} requests of {size}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_did_not_arrive_is_noticed() {
        let count = |requests, bytes| Count { requests, bytes };
        let loaded = Loaded { requests: 10, ..Loaded::default() };
        let check = |requests: u64, bytes: u64| {
            check_count(count(5, 50), count(5 + requests, 50 + bytes), &loaded, 16)
        };
        assert_eq!(check(10, 160), Ok(()));
        assert_eq!(check(12, 192), Ok(()));
        assert!(check(9, 144).unwrap_err().contains("saw 9"));
        assert!(check(10, 159).unwrap_err().contains("159 bytes"));
    }
}
