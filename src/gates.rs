//! Gates: connections whose input the kernel drops for a moment, so that a client which never pauses
//! can be found quiet. What is dropped was never read, let alone executed, and is sent again by the
//! client's kernel if the gate opens before the connection is closed.
//!
//! A gate opens by itself after a moment, whatever the engine does meanwhile: a connection is
//! never left behind one.

use crate::kernel::socket;
use connage_engine::client::ClientId;
use connage_engine::reaper::GATE;
use connage_engine::text::time::Micros;
use std::collections::BTreeMap;
use std::os::raw::c_int;

/// All that are shut now, and since when.
#[derive(Debug, Default)]
pub struct Gates {
    shut: BTreeMap<ClientId, (c_int, Micros)>,
}

impl Gates {
    /// Shuts one; the kernel may refuse, and nothing happens then.
    pub fn shut(&mut self, now: Micros, id: ClientId, fd: c_int) {
        if socket::drop_payload_before_the_end(fd).is_ok() {
            self.shut.insert(id, (fd, now));
        }
    }

    /// The connection is going: its descriptor may soon be another's.
    pub fn forget(&mut self, id: ClientId) {
        if !self.shut.is_empty() {
            self.shut.remove(&id);
        }
    }

    /// When the next one opens.
    pub fn next(&self) -> Option<Micros> {
        self.shut.values().map(|(_, since)| since.plus(GATE)).min()
    }

    /// Opens those whose moment is over.
    pub fn step(&mut self, now: Micros) {
        self.shut.retain(|_, (fd, since)| {
            let stays = now < since.plus(GATE);
            if !stays {
                socket::keep_payload(*fd);
            }
            stays
        });
    }

    /// Whether there was one.
    pub fn open(&mut self, id: ClientId) -> bool {
        let shut = self.shut.remove(&id);
        if let Some((fd, _)) = shut {
            socket::keep_payload(fd);
        }
        shut.is_some()
    }

    pub fn open_all(&mut self) {
        self.step(Micros::NEVER);
    }
}
