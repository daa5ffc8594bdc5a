//! HTTP/1 on the wire: what is a message, where it ends, and what of it may travel on.
//!
//! Owns: the strict reading of request and response heads (RFC 9112), the one decision about body framing, the
//! chunked coding, the list of fields that must not be forwarded, and the writing of heads. Sans-I/O: bytes in,
//! borrowed views or a named [`Reason`](evenkeel_base::Reason) out; no allocation per message.
//!
//! Does not know: sockets, buffers' owners, clocks, pools, routes, or which status answers which reason.

mod chunked;
mod fields;
mod forwarding;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod head_out;
mod host;
mod request;
mod response;
#[doc(hidden)]
pub mod samples;
mod special;
mod tables;

pub use chunked::{ChunkDecoder, ChunkLimits, Scanned, Step};
pub use fields::{Field, FieldKind, Fields, Kinds, MAX_NOMINATIONS, Scratch};
pub use forwarding::{Forwarding, forwarded};
pub use head::{Framing, Limits, MAX_HEADERS, Method, Parsed, Progress, Version};
pub use head_out::{
    LAST_CHUNK, end_head, write_chunk_size, write_chunked, write_content_length, write_field, write_fields,
    write_request_head, write_request_line, write_response_head, write_status_line,
};
pub use request::{MAX_METHOD_BYTES, RequestHead, parse_request};
pub use response::{Asked, ResponseHead, parse_response};
