//! One access log line per connection.

use std::time::Duration;

use evenkeel_state::{Admitted, LineWriter, Pool};

use crate::connection::Course;

/// Writes the line, if the access log is on.
pub(crate) fn line(open: &Admitted, course: &Course, pool: &Pool, total: Duration) {
    open.worker.log.line(&open.view.live, |out, format| {
        let mut line = LineWriter::begin(out, format);
        line.text("protocol", "tcp");
        line.display("connection", &open.live.id);
        line.display("client", &open.live.client);
        line.text("listener", open.live.listener.as_str());
        line.text("pool", pool.name().as_str());
        match &course.target {
            Some(target) => line.display("target", &target.address),
            None => line.text("target", "-"),
        }
        line.number("attempts", u64::from(course.attempts));
        line.micros("queue_us", course.queued);
        line.micros("connect_us", course.connected);
        line.micros("total_us", total);
        line.number("bytes_in", course.to_target);
        line.number("bytes_out", course.to_client);
        line.text("end", open.reason.as_str());
        line.end();
    });
}
