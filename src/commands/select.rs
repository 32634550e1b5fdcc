//! Select: fetches the connections among which a command picks, oldest first. Where to look, and whom to pick, is
//! decided in the engine.

use crate::api::client::info;
use crate::api::rights;
use crate::api::{self, Context};
use crate::kernel::clock;
use crate::{look, state};
use connage_engine::client::info_line;
use connage_engine::client::{Client, ClientId};
use connage_engine::request::filter::Filter;
use connage_engine::request::Candidates;
use connage_engine::text::time::{Micros, Millis};
use connage_engine::text::word::shown;

/// So many are looked at by one CLIENT LIST ID.
const CHUNK: usize = 1_024;

/// The ids of the candidates, oldest first; `None` for all.
fn ids_of(ctx: Context, now: Micros, candidates: Candidates) -> Option<Vec<ClientId>> {
    let ids = match candidates {
        Candidates::All => return None,
        Candidates::These(ids) => Some(ids.iter().copied().filter(|id| is_there(ctx, *id)).collect()),
        Candidates::AtLeast(age) => state::with(|state| state.reaper.older_than(now, age).collect()),
        Candidates::Oldest(count) => state::with(|state| state.reaper.oldest(count)),
        Candidates::PastLimit => state::with(|state| state.reaper.perhaps_expired(now)),
    };
    Some(ids.unwrap_or_default())
}

/// Whether it is worth a look: an id may be long gone, or made up. A half-open TLS handshake has one that only
/// the server knows.
fn is_there(ctx: Context, id: ClientId) -> bool {
    let tracked = state::with(|state| state.reaper.is_tracked(id));
    // The caller may be a module, of whose client the server must not be asked: see `info`.
    tracked == Some(true) || id.0 == api::caller(ctx) || info(id.0).is_some()
}

/// Hands each of the candidates, with its age, to `take`, which says whether it takes it. With a `limit` oldest first,
/// until so many are taken; without one as the server lists them, which is the same but for a few. The age is
/// looked up only if it is wanted.
///
/// # Errors
/// `take` has refused, or the server would not list its clients.
pub fn each(
    ctx: Context,
    now: Micros,
    candidates: Candidates,
    limit: Option<u64>,
    with_age: bool,
    mut take: impl FnMut(&Client, Millis) -> Result<bool, String>,
) -> Result<(), String> {
    let candidates = ids_of(ctx, now, candidates);
    let now = clock::now();
    let mut left = limit.unwrap_or(u64::MAX);
    let mut see = |client: &Client| {
        let age = if with_age { age_of(now, client) } else { Millis(0) };
        if take(client, age)? {
            left -= 1;
        }
        Ok::<bool, String>(left > 0)
    };
    let mut visit = |lines: &[u8]| {
        if limit.is_none() {
            for client in info_line::lines(lines) {
                see(&client)?;
            }
            return Ok(true);
        }
        // Those that are taken have to be the oldest.
        let mut clients: Vec<Client> = info_line::lines(lines).collect();
        clients.sort_unstable_by_key(|client| client.id);
        for client in &clients {
            if !see(client)? {
                return Ok::<bool, String>(false);
            }
        }
        Ok(true)
    };
    let unlisted = || "ERR the server would not list its clients now".to_owned();
    match candidates {
        None => {
            let reply = look::all_clients(ctx).ok_or_else(unlisted)?;
            visit(reply.text().unwrap_or_default())?;
        }
        Some(ids) => {
            // As few as may do; more each time they do not, since a look may cost the same for one and for many.
            let mut chunk = usize::try_from(limit.unwrap_or(u64::MAX))
                .unwrap_or(CHUNK)
                .clamp(1, CHUNK);
            let mut rest = ids.as_slice();
            while !rest.is_empty() {
                let (these, others) = rest.split_at(chunk.min(rest.len()));
                let reply = look::clients(ctx, these).ok_or_else(unlisted)?;
                if !visit(reply.text().unwrap_or_default())? {
                    break;
                }
                rest = others;
                chunk = chunk.saturating_mul(2).min(CHUNK);
            }
        }
    }
    Ok(())
}

/// Age by the registry. A connection that it does not know (a half-open TLS handshake) is made known.
pub fn age_of(now: Micros, client: &Client) -> Millis {
    let known = state::with(|state| state.reaper.age(now, client.id)).flatten();
    known.unwrap_or_else(|| {
        let tls = api::is_tls(client.id.0);
        state::with(|state| {
            state.reaper.found(now, client, tls, state.untracked_since);
            state.reaper.age(now, client.id)
        })
        .flatten()
        .unwrap_or_default()
    })
}

/// A user who is not there is a slip, which CLIENT KILL refuses too.
///
/// # Errors
/// The filter names such a user.
pub fn refuse_unknown_users(filter: &Filter) -> Result<(), String> {
    match filter.users().find(|user| !rights::is_user(user)) {
        Some(user) => Err(format!(
            "ERR USER: there is no user {}: ACL LIST names them",
            shown(user)
        )),
        None => Ok(()),
    }
}
