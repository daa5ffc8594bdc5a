//! `evenkeel connection`: act on open client connections.

use evenkeel_api::connection_path;

use crate::cli::{Connection, Global};
use crate::client::{Change, Client};
use crate::exit::Exit;
use crate::screen::{self, Failure};

/// Cuts the connection.
pub(crate) fn run(global: &Global, connection: &Connection) -> Result<Exit, Failure> {
    let Connection::Close { id } = connection;
    Client::new(global)?.change(Change::delete(&connection_path(id)))?;
    screen::print(&format!("closed {id}\n"))
}
