//! Names against a name server of our own, which does whatever a bad day can bring.

mod f42;
mod server;
mod settings;
mod start;
mod world;
