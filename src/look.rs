//! Look: what the server and the kernel know of connections, by CLIENT LIST, FIONREAD, SIOCOUTQ and TCP_INFO.

use crate::api::call::{call, Reply};
use crate::api::server_info::ServerInfo;
use crate::api::{self, text, Context};
use crate::kernel::{clock, socket};
use connage_engine::client::quiet::{Received, Seen};
use connage_engine::client::watch;
use connage_engine::client::{Client, ClientId};
use connage_engine::text::time::Millis;
use std::ffi::CStr;
use std::sync::OnceLock;

/// The lines of these connections; those that are gone are left out. `None` when the server won't be
/// asked now.
pub fn clients<'call, 'a>(
    ctx: Context<'call>,
    ids: impl IntoIterator<Item = &'a ClientId>,
) -> Option<Reply<'call>> {
    let numbers: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
    let mut words: Vec<&[u8]> = vec![b"LIST", b"ID"];
    words.extend(numbers.iter().map(|number| number.as_bytes()));
    call(ctx, c"CLIENT", &words).filter(|reply| reply.text().is_some())
}

/// The lines of all connections.
pub fn all_clients(ctx: Context<'_>) -> Option<Reply<'_>> {
    call(ctx, c"CLIENT", &[b"LIST"]).filter(|reply| reply.text().is_some())
}

/// The socket of a connection beside its line. Used inside `state::with`, and never calls back: of the server it
/// asks for a user's rights only, for which that fires no event and runs no command.
pub fn seen(client: Client<'_>) -> Seen<'_> {
    let seen = Seen {
        client,
        received: socket_received(&client),
        unread: socket::unread(client.fd),
        unacked: socket::unacked(client.fd),
        awaits_link: awaits_link(&client),
    };
    #[cfg(feature = "test-faults")]
    let seen = crate::test_faults::unlooked(seen);
    seen
}

/// Whether another server has asked for a link that its flags do not show yet. Anybody can send such a command:
/// its user must have the right to it.
pub fn awaits_link(client: &Client) -> bool {
    if client.is_server_link() || !client.asks_for_link() {
        return false;
    }
    let words: Vec<&[u8]> = client.cmd.split(|byte| *byte == b'|').collect();
    // The server's own, whom it does not ask for rights.
    client.user == b"(superuser)" || api::rights::user_may(client.user, &words)
}

fn socket_received(client: &Client) -> Option<Received> {
    let received = socket::received(client.fd)?;
    Some(Received {
        bytes: received.bytes,
        last: clock::now().minus(Millis(received.ago_ms)),
        round_trip_us: received.round_trip_us,
    })
}

/// Takes a client that waits for data off its keys, with the answer of a timeout. Never while clients are
/// paused: Redis 7.0 aborts when it is to unblock one that CLIENT PAUSE holds back.
pub fn unblock(ctx: Context, id: ClientId) {
    if !api::is_paused() {
        call(
            ctx,
            c"CLIENT",
            &[b"UNBLOCK", id.to_string().as_bytes(), b"TIMEOUT"],
        );
    }
}

/// User and name, without CLIENT LIST: two lookups by id.
pub fn identity(ctx: Context, id: ClientId) -> Option<(text::Text, Option<text::Text>)> {
    Some((text::user_of(ctx, id.0)?, text::name_of(ctx, id.0)))
}

/// Whether the server has this command under this name, and not another (`rename-command`).
pub fn has_command(ctx: Context, command: &CStr, args: &[&[u8]]) -> bool {
    call(ctx, command, args).is_some_and(|reply| !reply.is_of_no_command())
}

/// Whether the server's allocations are rounded as jemalloc does, as in those that are built for Linux they mostly
/// are. Tried, once: what the server says of its allocator does not hold where another one is preloaded.
pub fn has_jemalloc() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| watch::rounds_as_jemalloc(api::allocated))
}

/// A setting of the server's own.
pub fn setting(ctx: Context, name: &[u8]) -> Option<Vec<u8>> {
    call(ctx, c"CONFIG", &[b"GET", name])?.element(1)
}

/// The server's `maxclients`. Not by CONFIG, which may have another name.
pub fn max_clients(ctx: Context) -> Option<u64> {
    ServerInfo::section(ctx, c"clients")?.number(c"maxclients")
}
