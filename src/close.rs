//! Close: carries out a round. Looks, lets the engine judge, closes, and tells it what came of it.

use crate::api::{self, client, text, Context};
use crate::kernel::{clock, socket};
use crate::linger::Holding;
use crate::state::{self, State};
use crate::{look, server_log};
use connage_engine::client::info_line;
use connage_engine::client::manner::{CloseError, Environment, Manner};
use connage_engine::client::{Client, ClientId};
use connage_engine::reaper::prefetch::Line;
use connage_engine::reaper::{Closing, Outcome, Reaper, Round, LONG_ROUND};
use connage_engine::record::journal::How;
use connage_engine::text::time::Micros;

/// Redis 7.2, with which Valkey says to be compatible: from here on a server with a child shuts down
/// both halves of the sockets that it closes.
const SHUTS_BOTH_HALVES_SINCE: i32 = 0x0007_0200;

/// Where in the server's loop a round of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// No command is on the stack.
    Outermost,
    /// The loop runs inside a command or inside loading: only who is quiet is closed.
    Nested,
}

/// One round of work, if there is any.
pub fn run_round(ctx: Context, now: Micros, depth: Depth) {
    // Inside `state::with`, and never calls back: the server looks the id up and fills in a structure of ours. It
    // fires no event, runs no command and frees no client (`RM_GetClientInfoById` in its module.c).
    let is_held_up = |id: ClientId| client::info(id.0).is_some_and(|info| info.is_held_up());
    let Some(mut round) = state::with(|state| {
        #[cfg(feature = "test-faults")]
        crate::test_faults::strike_a_round();
        let mut round = state.reaper.tick(now);
        state.reaper.let_the_quiet_pass(now, &mut round, is_held_up);
        round
    }) else {
        return;
    };
    if round.is_empty() {
        return;
    }
    let began = clock::worked_us();
    let cached: Vec<(&Line, Client)> = round
        .cached
        .iter()
        .filter_map(|line| Some((line, info_line::parse(&line.text)?)))
        .collect();
    // To ask may itself end a pause that has run out, and set those going that it held back, which look blocked
    // before: asked before a look and after it.
    let was_paused = api::is_paused();
    close_those(
        ctx,
        now,
        depth,
        was_paused,
        cached,
        |reaper, (line, client), env| {
            let seen = look::seen(client);
            let closing = reaper.judge_cached(now, line, &seen, env)?;
            Some((client, closing))
        },
    );
    let asking = clock::worked_us();
    state::with(|state| {
        let has_input = |fd| socket::unread(fd).is_some_and(|bytes| bytes > 0);
        let asked = state.reaper.perhaps_busy(now, &round);
        let busy: Vec<ClientId> = asked.filter(|(_, fd)| has_input(*fd)).map(|(id, _)| id).collect();
        for (id, fd) in state.reaper.put_off_the_busy(now, &mut round, &busy) {
            state.gates.shut(now, id, fd);
        }
    });
    leave_out_the_long(ctx, now, &mut round);
    identify(ctx, now, &round);
    let mut asked = clock::worked_us();
    if !round.look.is_empty() {
        let Some(reply) = look::clients(ctx, round.look.iter().chain(&round.prefetch)) else {
            let outcome = Outcome {
                was_refused: true,
                asked_us: clock::worked_us().saturating_sub(asking),
                other_us: asking.saturating_sub(began),
            };
            state::with(|state| state.reaper.end_round(now, round, outcome));
            return;
        };
        asked = clock::worked_us();
        let lines = info_line::lines(reply.text().unwrap_or_default());
        close_those(ctx, now, depth, was_paused, lines, |reaper, client, env| {
            let seen = look::seen(client);
            let closing = reaper.judge(now, &seen, env)?;
            Some((client, closing))
        });
    }
    let done = clock::worked_us();
    let asked_us = asked.saturating_sub(asking);
    let outcome = Outcome {
        was_refused: false,
        asked_us,
        other_us: done.saturating_sub(began).saturating_sub(asked_us),
    };
    state::with(|state| state.reaper.end_round(now, round, outcome));
}

/// Whether the server would write a line for each eviction, asked once a second: making them for nothing
/// costs as much as a look.
fn is_verbose(ctx: Context, now: Micros) -> bool {
    let is_known = state::with(|state| state.verbosity.is_known(now)).unwrap_or(true);
    if !is_known {
        let level = look::setting(ctx, b"loglevel");
        state::with(|state| state.verbosity.set(now, level.as_deref()));
    }
    state::with(|state| state.verbosity.is_verbose()).unwrap_or(false)
}

/// One look with many long names in it would stand for as long as it takes to print them all.
fn leave_out_the_long(ctx: Context, now: Micros, round: &mut Round) {
    let ids: Vec<ClientId> =
        state::with(|state| state.reaper.to_measure(round).collect()).unwrap_or_default();
    let (mut names, mut all) = (Vec::with_capacity(ids.len()), 0_usize);
    for id in ids {
        if all > LONG_ROUND {
            break;
        }
        let name = text::name_of(ctx, id.0).map_or(0, |name| name.bytes().len());
        names.push(name);
        all = all.saturating_add(name);
    }
    state::with(|state| state.reaper.leave_out_the_long(now, round, &names));
}

fn identify(ctx: Context, now: Micros, round: &Round) {
    for id in &round.identify {
        if let Some((user, name)) = look::identity(ctx, *id) {
            let name = name.as_ref().map_or(&[][..], |name| name.bytes());
            let goes_on = state::with(|state| state.reaper.identified(now, *id, user.bytes(), name));
            if goes_on != Some(true) {
                break;
            }
        }
    }
}

/// Has `judge` say which of `those` are to be closed, and how, and closes them.
fn close_those<'a, T>(
    ctx: Context,
    now: Micros,
    depth: Depth,
    was_paused: bool,
    those: impl IntoIterator<Item = T>,
    judge: impl Fn(&mut Reaper, T, &Environment) -> Option<(Client<'a>, Closing)>,
) {
    let mut those = those.into_iter().peekable();
    if those.peek().is_none() {
        return;
    }
    let ends_despite_child = api::server_version() >= SHUTS_BOTH_HALVES_SINCE;
    let mut env = Environment {
        wall_ms: clock::wall_ms(),
        ends_despite_child,
        paused: was_paused || api::is_paused(),
        nested: depth == Depth::Nested,
        shuts_both_halves: ends_despite_child && api::has_child(ctx),
        jemalloc: look::has_jemalloc(),
        can_drop_input: false,
        linger_room: 0,
    };
    let work = |state: &mut State| {
        let would_evict = state.reaper.tally.would_evict;
        env.linger_room = state.linger.room(now);
        env.can_drop_input = state.linger.can_drop_input();
        let mut closings = Vec::new();
        for one in those {
            if let Some((client, closing)) = judge(&mut state.reaper, one, &env) {
                if closing.manner.lingers() {
                    env.linger_room = env.linger_room.saturating_sub(1);
                }
                closings.push((client, closing));
            }
        }
        for _ in would_evict..state.reaper.tally.would_evict {
            state.summary.add(How::DryRun);
        }
        closings
    };
    let closings = state::with(work).unwrap_or_default();
    let is_verbose = !closings.is_empty() && is_verbose(ctx, now);
    for (client, closing) in &closings {
        if close(ctx, now, client, closing) && is_verbose {
            server_log::evicted(client, closing);
        }
    }
}

/// Whether it is being closed.
fn close(ctx: Context, now: Micros, client: &Client, closing: &Closing) -> bool {
    if closing.off_keys {
        look::unblock(ctx, client.id);
    }
    if closing.manner == Manner::OnlyOffKeys {
        state::with(|state| state.reaper.taken_off_keys(now, closing));
        return false;
    }
    if let Err(refusal) = prepare(now, client, closing.manner) {
        state::with(|state| state.reaper.not_closed(now, closing, refusal));
        return false;
    }
    let found = api::close_client(ctx, client.id.0);
    let wall_ms = clock::wall_ms();
    let closed_at = clock::now();
    state::with(|state| {
        if found {
            state.reaper.closed(closed_at, client, closing, wall_ms);
            state.summary.add(closing.how);
        } else {
            state.reaper.disconnected(client.id);
        }
    });
    found
}

/// Has the socket ready for the server to close it.
fn prepare(now: Micros, client: &Client, manner: Manner) -> Result<(), CloseError> {
    #[cfg(feature = "test-faults")]
    if crate::test_faults::leaves_sockets_alone() {
        return Ok(());
    }
    let (id, fd) = (client.id, client.fd);
    let work = |state: &mut State| match manner {
        Manner::ServerAlone | Manner::OnlyOffKeys => Ok(()),
        Manner::ShutThenClose => {
            socket::shut(fd);
            socket::discard_input(fd);
            Ok(())
        }
        Manner::DropInputThenClose => {
            state.gates.open(id);
            state.linger.drop_input(now, fd)?;
            if !state.reaper.is_tls(id) {
                socket::shut_writing(fd);
            }
            Ok(())
        }
        Manner::Linger | Manner::LingerDroppingInput => {
            let how = Holding {
                tls: state.reaper.is_tls(id),
                drops_input: manner == Manner::LingerDroppingInput,
                gated: state.gates.open(id),
                unix: client.is_unix(),
            };
            state.linger.hold(now, id, fd, how)
        }
    };
    state::with(work).unwrap_or(Err(CloseError::ThisSocket))
}
