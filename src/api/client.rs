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

#[cfg(test)]
mod tests {
    use super::*;

    fn client(ip: &[u8], port: u16, flags: u32) -> ClientInfo {
        let mut addr = [0; 46];
        for (place, byte) in addr.iter_mut().zip(ip) {
            *place = byte.to_ne_bytes()[0] as _;
        }
        ClientInfo(raw::RedisModuleClientInfo {
            version: 1,
            flags: u64::from(flags),
            id: 7,
            addr,
            port,
            db: 0,
        })
    }

    #[test]
    fn an_address_is_written_as_client_list_writes_it() {
        let longest = [b'1'; 50];
        let cases: [(&[u8], u16, u32, String); 5] = [
            (b"10.0.0.1", 65_535, 0, "10.0.0.1:65535".to_owned()),
            (b"fe80::1%eth0", 9, 0, "[fe80::1%eth0]:9".to_owned()),
            (b"", 0, 0, ":0".to_owned()),
            // Without the NUL that it should end with.
            (&longest, 1, 0, format!("{}:1", "1".repeat(46))),
            (
                b"/tmp/sock",
                0,
                raw::REDISMODULE_CLIENTINFO_FLAG_UNIXSOCKET,
                String::new(),
            ),
        ];
        for (ip, port, flags, want) in cases {
            assert_eq!(client(ip, port, flags).addr(), want.as_bytes(), "{want}");
        }
    }

    #[test]
    fn a_client_in_multi_or_in_a_command_that_blocks_is_held_up() {
        for (flags, held_up, tls) in [
            (0, false, false),
            (raw::REDISMODULE_CLIENTINFO_FLAG_MULTI, true, false),
            (raw::REDISMODULE_CLIENTINFO_FLAG_BLOCKED, true, false),
            (raw::REDISMODULE_CLIENTINFO_FLAG_SSL, false, true),
            (raw::REDISMODULE_CLIENTINFO_FLAG_PUBSUB, false, false),
        ] {
            let client = client(b"10.0.0.1", 1, flags);
            assert_eq!((client.is_held_up(), client.is_tls()), (held_up, tls), "{flags}");
        }
    }
}
