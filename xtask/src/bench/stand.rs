//! Everything that one run of one peer stands on.

use std::net::SocketAddr;
use std::path::Path;

use super::Cores;
use super::load::Load;
use super::origin::Origin;
use super::peers::{Peer, Proxy};
use super::process::{self, Process, Scratch};
use super::rows::Work;
use crate::shell::Outcome;

/// Load runs until every target has had a connection, but no longer than so many seconds.
const MAX_WARMUP: u32 = 30;

/// What a row's `measure` is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stand<'a> {
    pub(crate) root: &'a Path,
    pub(crate) scratch: &'a Scratch,
    pub(crate) cores: &'a Cores,
    pub(crate) peer: &'a Peer,
    pub(crate) work: &'a Work,
    pub(crate) origin: &'a Origin,
    /// Length of a measured run.
    pub(crate) seconds: u32,
    /// Seconds of load before it.
    pub(crate) warmup: u32,
}

impl Stand<'_> {
    /// Configures and starts the peer, and waits until it accepts.
    pub(crate) fn start(&self) -> Outcome<Proxy> {
        let address = self.configure(0)?;
        let mut process = self.launch()?;
        process.accepts(address)?;
        Ok(Proxy { process, address })
    }

    /// Writes the peer's configuration for a free address.
    pub(crate) fn configure(&self, generation: u64) -> Outcome<SocketAddr> {
        let address = process::free_address()?;
        self.rewrite(address, generation)?;
        Ok(address)
    }

    /// Writes it again, told apart by its generation.
    pub(crate) fn rewrite(&self, address: SocketAddr, generation: u64) -> Outcome {
        self.peer.configure(self.root, self.work, self.origin.address, self.scratch, address, generation)
    }

    /// Starts the peer, and waits for nothing.
    pub(crate) fn launch(&self) -> Outcome<Process> {
        self.peer.launch(self.work, self.scratch, &self.cores.proxy)
    }

    /// The closed-loop load of this work.
    pub(crate) fn load(&self, address: SocketAddr) -> Load<'_> {
        Load { root: self.root, scratch: self.scratch, cores: &self.cores.load, address, work: self.work }
    }

    /// Loads until connections are open, also to every one of many targets.
    pub(crate) fn warm_up(&self, address: SocketAddr) -> Outcome {
        let (mut done, mut seconds) = (0, 0);
        while self.warmup > 0 && seconds < MAX_WARMUP && (seconds == 0 || done < 2 * self.work.targets as u64)
        {
            done += self.load(address).run(self.warmup)?.requests;
            seconds += self.warmup;
        }
        Ok(())
    }
}
