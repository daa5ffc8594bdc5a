//! How soon a new process serves.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Aim, Column, Row, Variant, Work};
use crate::bench::measure::{Group, Sample, median};
use crate::bench::stand::Stand;
use crate::bench::talk::{self, Connection};
use crate::shell::Outcome;

/// Starts in one run; their median is the run's figure.
const STARTS: usize = 5;
/// Between two attempts to be served.
const GLANCE: Duration = Duration::from_micros(200);
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const ROW: Row = Row {
    name: "start",
    title: "Start to first request served",
    about: "From starting the program (by way of `setpriv`, `prlimit` and `taskset`, which take two or three \
            milliseconds of it) to the end of the first good answer, tried five times a millisecond; the median of five \
            starts. With one pool, and with 10,000 routes to it.",
    variants: &[
        Variant { label: "no routes", work: Work::PLAIN },
        Variant { label: "10,000 routes", work: Work { routes: 10_000, ..Work::PLAIN } },
    ],
    columns: &[Column { head: "ms to first answer", digits: 1 }, Column { head: "resident MiB", digits: 1 }],
    aims: &[Aim::Below(0, 100.0)],
    measure,
    calls: None,
};

fn measure(stand: &Stand<'_>) -> Outcome<Sample> {
    let (mut times, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let address = stand.configure(0)?;
        let start = Instant::now();
        let process = stand.launch()?;
        while !is_served(address, stand.work.body) {
            if start.elapsed() > LIMIT {
                return Err(format!(
                    "serves nothing within {} s: {}",
                    LIMIT.as_secs(),
                    process.printed().trim()
                ));
            }
            sleep(GLANCE);
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
        resident.push(Group::of(process.group())?.rss_kib as f64 / 1024.0);
    }
    Ok(Sample {
        values: vec![median(times.into_iter()), median(resident.into_iter())],
        busy: None,
        errors: 0,
    })
}

fn is_served(address: std::net::SocketAddr, body: usize) -> bool {
    let Ok(stream) = TcpStream::connect(address) else { return false };
    if stream.set_read_timeout(Some(Duration::from_secs(1))).is_err() {
        return false;
    }
    let request = talk::get(address, "/", true);
    let answer = Connection::new(stream).ask(request.as_bytes(), false);
    answer.is_ok_and(|answer| answer.status == 200 && answer.length == body as u64)
}
