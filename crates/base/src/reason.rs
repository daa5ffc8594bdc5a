//! Why something was refused, ended or changed: one vocabulary for logs, metrics, the API and tests.

use std::fmt;

macro_rules! reasons {
    ($($variant:ident $text:literal $meaning:literal;)*) => {
        /// A named cause. Its text form is the same in logs, metric labels, API bodies, the
        /// `x-evenkeel-reason` header and tests.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// Every reason, in declaration order; `reason as usize` is its index here.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as users see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// One sentence for the manual.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

reasons! {
    // How requests and connections end well.
    Finished "finished" "Both sides finished in order.";
    ClientClosed "client-closed" "The client closed the connection first.";
    ClientReset "client-reset" "The client reset the connection, or vanished.";
    TargetClosed "target-closed" "The target closed the connection first.";
    TargetReset "target-reset" "The target reset the connection.";
    IdleTimeout "idle-timeout" "Nothing moved for the idle timeout.";
    Draining "draining" "The listener, target or process is draining.";
    ClosedByAdmin "closed-by-admin" "An operator closed the connection.";
    Upgraded "upgraded" "The connection was switched to another protocol.";

    // What the client did wrong (HTTP 4xx).
    BadRequestLine "bad-request-line" "The request line is not METHOD SP TARGET SP HTTP/1.x.";
    BadMethod "bad-method" "The method is not a token, or is too long.";
    BadTarget "bad-target" "The request target has a form or a character that RFC 9112 forbids.";
    BadVersion "bad-version" "The protocol version is not HTTP/1.0 or HTTP/1.1.";
    BadHeaderName "bad-header-name" "A field name is empty or holds a character that is not a token.";
    BadHeaderValue "bad-header-value" "A field value holds a control character.";
    SpaceBeforeColon "space-before-colon" "White space stands between a field name and its colon.";
    FoldedHeader "folded-header" "A field is continued on a second line (obs-fold).";
    BareLineFeed "bare-line-feed" "A line ends in LF without CR.";
    BareCarriageReturn "bare-carriage-return" "A CR stands without its LF.";
    ConflictingFraming "conflicting-framing" "Content-Length and Transfer-Encoding are both present.";
    BadContentLength "bad-content-length" "Content-Length is repeated, signed, a list, too large or not a number.";
    BadTransferEncoding "bad-transfer-encoding" "Transfer-Encoding is not exactly one 'chunked', or came with HTTP/1.0.";
    BadChunk "bad-chunk" "A chunk size, extension or end is malformed.";
    BadTrailer "bad-trailer" "A trailer field is malformed or not allowed there.";
    MissingHost "missing-host" "An HTTP/1.1 request came without Host.";
    BadHost "bad-host" "Host is repeated, malformed, or disagrees with the request target.";
    BadExpect "bad-expect" "Expect asks for something other than 100-continue.";
    BadUpgrade "bad-upgrade" "Upgrade came with a body, over HTTP/1.0, or without naming a protocol.";
    HeadTooLarge "head-too-large" "The request or response head exceeds its size limit.";
    TooManyHeaders "too-many-headers" "More fields than the limit allows.";
    TargetTooLong "target-too-long" "The request target exceeds its length limit.";
    BodyTooLarge "body-too-large" "The body exceeds its size limit.";
    HeaderTimeout "header-timeout" "The request head did not arrive in time.";
    BodyTimeout "body-timeout" "The request body stalled for too long.";
    MethodRefused "method-refused" "CONNECT and TRACE are not proxied.";
    AddressDenied "address-denied" "The client's address is not admitted here.";
    RouteResponse "route-response" "A route answered by itself.";
    NoRoute "no-route" "No route matches, and the listener has no default pool.";

    // What we could not do (HTTP 5xx, TCP reset).
    ListenerFull "listener-full" "The listener is at max_connections.";
    NoTarget "no-target" "The pool has no available target.";
    QueueFull "queue-full" "Every target is at its limit and the pending queue is full.";
    QueueTimeout "queue-timeout" "No target became free within queue_timeout.";
    ConnectRefused "connect-refused" "The target refused the connection.";
    ConnectTimeout "connect-timeout" "The target did not accept within the connect timeout.";
    ConnectFailed "connect-failed" "The target could not be reached (routing, address or local limits).";
    NotResolved "not-resolved" "The target's name has no address.";
    LocalPortsExhausted "local-ports-exhausted" "No local port was free to dial the target.";
    RequestTimeout "request-timeout" "The target did not answer within the response timeout.";
    TargetClosedEarly "target-closed-early" "The target closed before its answer was complete.";
    BadResponse "bad-response" "The target's answer is not valid HTTP, or its framing lies.";
    TargetFailed "target-failed" "The target answered with a server error.";
    WriteTimeout "write-timeout" "The receiver took no bytes for too long.";
    Overloaded "overloaded" "The process is out of memory, descriptors or another shared resource.";
    Internal "internal" "A defect in Evenkeel; the request was given up, the process goes on.";

    // Why a target's standing changed.
    ProbeSucceeded "probe-succeeded" "Enough probes in a row succeeded.";
    ProbeRefused "probe-refused" "Probes found the port closed.";
    ProbeTimeout "probe-timeout" "Probes got no answer in time.";
    ProbeStatus "probe-status" "Probes got an unexpected HTTP status.";
    ProbeBody "probe-body" "Probes got a body without the expected text.";
    ProbeFailed "probe-failed" "Probes failed in another way.";
    ConnectErrors "connect-errors" "Too many connect errors in a row from real traffic.";
    ErrorShare "error-share" "Too large a share of answers were server errors.";
    EjectionOver "ejection-over" "The ejection time is over; the target is tried again.";
    PolicyChanged "policy-changed" "The pool's health policy changed and no longer judges the target that way.";
    Added "added" "The target was added.";
    Removed "removed" "The target was removed.";
    Enabled "enabled" "An operator enabled the target.";
    Disabled "disabled" "An operator disabled the target.";
    Drained "drained" "An operator drains the target: no new work.";
    WeightChanged "weight-changed" "The target's weight changed.";
    Resolved "resolved" "The target's name has an address again.";

    // What the control side refuses.
    BadConfig "bad-config" "The configuration has problems; nothing was changed.";
    BindFailed "bind-failed" "An address could not be listened on; nothing was changed.";
    NotFound "not-found" "There is nothing of that name.";
    AlreadyExists "already-exists" "Something of that name is there already.";
    BadInput "bad-input" "The request's body or parameters are malformed.";
    Unauthorized "unauthorized" "The admin token is missing or wrong.";
    Forbidden "forbidden" "The request comes from another web origin.";
    Conflict "conflict" "The configuration changed since it was read.";
    SaveFailed "save-failed" "The change is live but could not be written to the file.";
    NeedsRestart "needs-restart" "The change takes effect only in a new process.";
    BadContentType "bad-content-type" "The body is not declared to be what the path takes.";
    WrongMethod "wrong-method" "The path is there, but does not take this method.";
    Starting "starting" "The process does not serve yet.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_kebab_case_and_indexed() {
        let mut seen = HashSet::new();
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(seen.insert(reason.as_str()), "{reason} twice");
            assert!(reason.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(reason.meaning().ends_with('.'));
        }
    }
}
