//! What the server tells of one connection by its id, at once and without CLIENT LIST, which on some servers
//! walks all clients.

use super::{api, OK};
use redis_module::raw;
use std::io::Write;

/// A connection as it is now.
pub struct ClientInfo(raw::RedisModuleClientInfo);

/// `None` when there is no connection of this id. Not for the id of a caller that may be a module: its call has a
/// client without a connection, which Valkey 9 finds by its id while it runs, and crashes.
pub fn info(id: u64) -> Option<ClientInfo> {
    let mut info = raw::RedisModuleClientInfo {
        version: u64::from(raw::REDISMODULE_CLIENTINFO_VERSION),
        flags: 0,
        id: 0,
        addr: [0; 46],
        port: 0,
        db: 0,
    };
    // SAFETY: `info` is a version 1 structure and says so; whoever calls this vouches for the id.
    let found = api!(RedisModule_GetClientInfoById).map(|call| unsafe { call((&raw mut info).cast(), id) })
        == Some(OK);
    found.then_some(ClientInfo(info))
}

impl ClientInfo {
    fn has(&self, flag: u32) -> bool {
        self.0.flags & u64::from(flag) != 0
    }

    pub fn is_tls(&self) -> bool {
        self.has(raw::REDISMODULE_CLIENTINFO_FLAG_SSL)
    }

    /// In MULTI, or in a command that blocks it.
    pub fn is_held_up(&self) -> bool {
        self.has(raw::REDISMODULE_CLIENTINFO_FLAG_MULTI | raw::REDISMODULE_CLIENTINFO_FLAG_BLOCKED)
    }

    pub fn is_unix(&self) -> bool {
        self.has(raw::REDISMODULE_CLIENTINFO_FLAG_UNIXSOCKET)
    }

    /// The letters of CLIENT LIST that these know of, and which of them hold.
    pub fn flags(&self) -> [(u8, bool); 5] {
        [
            (b'P', self.has(raw::REDISMODULE_CLIENTINFO_FLAG_PUBSUB)),
            (b'x', self.has(raw::REDISMODULE_CLIENTINFO_FLAG_MULTI)),
            (b'b', self.has(raw::REDISMODULE_CLIENTINFO_FLAG_BLOCKED)),
            (b't', self.has(raw::REDISMODULE_CLIENTINFO_FLAG_TRACKING)),
            (b'U', self.is_unix()),
        ]
    }

    /// As CLIENT LIST writes it; of a Unix socket, whose path is not told here, nothing.
    pub fn addr(&self) -> Vec<u8> {
        let mut addr = Vec::new();
        if self.is_unix() {
            return addr;
        }
        let chars = self.0.addr.iter().take_while(|c| **c != 0);
        let ip: Vec<u8> = chars.map(|c| c.to_ne_bytes()[0]).collect();
        let is_v6 = ip.contains(&b':');
        addr.extend(is_v6.then_some(b'['));
        addr.extend(&ip);
        addr.extend(is_v6.then_some(b']'));
        // To write to a vector never fails.
        let _ = write!(addr, ":{}", self.0.port);
        addr
    }
}
