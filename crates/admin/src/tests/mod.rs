//! The API as its callers see it: over a socket, in front of a real registry and a process that is played.

mod bad_input;
mod changes;
mod configuration;
mod events;
mod guards;
mod listings;
mod metrics;
mod openapi;
mod play;
mod sockets;
