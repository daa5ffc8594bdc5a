//! One access log line per request.

use evenkeel_base::Reason;
use evenkeel_state::{Admitted, LineWriter};

use crate::answer::status_of;
use crate::exchange::Exchange;
use crate::head::Choice;

/// Writes the line of a request that is over, if the access log is on.
pub(crate) fn line<D>(exchange: &Exchange<'_, D>) {
    let admitted = exchange.admitted;
    admitted.worker.log.line(&admitted.view.live, |out, format| {
        let course = &exchange.course;
        let mut line = LineWriter::begin(out, format);
        begin(&mut line, admitted);
        if let Some(text) = &exchange.ask.text {
            line.bytes("method", text.method());
            line.bytes("host", text.host());
            line.bytes("path", text.target());
        }
        match exchange.ask.choice {
            // Counted from 1, in the order of the file.
            Choice::Route(index) => line.number("route", index as u64 + 1),
            Choice::Default | Choice::Refuse(_) => line.text("route", "-"),
        }
        line.text("pool", course.pool.as_ref().map_or("-", |pool| pool.name().as_str()));
        match &course.target {
            Some(target) => line.display("target", &target.address),
            None => line.text("target", "-"),
        }
        line.number("status", u64::from(course.status));
        line.number("attempts", u64::from(course.attempts));
        line.number("reused", u64::from(course.reused));
        line.micros("queue_us", course.queued);
        line.micros("connect_us", course.connected);
        line.micros("first_byte_us", course.first_byte);
        line.micros("total_us", exchange.started.elapsed());
        line.number("bytes_in", course.bytes_in);
        line.number("bytes_out", course.bytes_out);
        line.text("end", course.reason.unwrap_or(Reason::Finished).as_str());
        line.end();
    });
}

/// Writes the line of what was no request.
pub(crate) fn refused(admitted: &Admitted, reason: Reason) {
    admitted.worker.log.line(&admitted.view.live, |out, format| {
        let mut line = LineWriter::begin(out, format);
        begin(&mut line, admitted);
        line.number("status", u64::from(status_of(reason)));
        line.text("end", reason.as_str());
        line.end();
    });
}

fn begin(line: &mut LineWriter<'_>, admitted: &Admitted) {
    line.text("protocol", "http");
    line.display("connection", &admitted.live.id);
    line.display("client", &admitted.live.client);
    line.text("listener", admitted.live.listener.as_str());
}
