//! Rights: what the caller of a command, or a user, may run of the server's own.

use super::call::call_as_caller;
use super::text::{user_of, Text};
use super::{api, caller, Context, OK};
use redis_module::raw;
use std::ffi::CStr;
use std::os::raw::c_int;
use std::ptr::NonNull;

/// Whether the current caller's own rights let it run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    Granted,
    Denied,
    /// The server has no such command, or under another name.
    NoCommand,
    /// It has no user whose rights could be asked for: it is the server (the link to the master, an AOF
    /// that is loaded) or a module on its own account.
    NoUser,
}

/// Runs `command` as the current caller, if it may. For servers that cannot give a module's commands
/// categories (Redis 7.0), with a use of the command that changes nothing. The user is that of the caller
/// and not just one of the same name, as a module's own may be.
pub fn try_as_caller(ctx: Context, command: &CStr, args: &[&[u8]]) -> Rights {
    let Some(reply) = call_as_caller(ctx, command, args) else {
        return Rights::Denied;
    };
    // As Redis 7.0 says it. Any other error comes from the command itself, which was run.
    match reply.error() {
        Some(error) if contains(error, b"cannot run as user") => Rights::NoUser,
        Some(error) if contains(error, b"acl verification failed") => Rights::Denied,
        Some(_) if reply.is_of_no_command() => Rights::NoCommand,
        _ => Rights::Granted,
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Likewise for a command of which no use changes nothing: asked of the user of the caller's name. `probe` is a use
/// of another one, which tells whether the caller has a user: where it has none, Redis 7.0 crashes when asked for it.
pub fn by_name(ctx: Context, words: &[&[u8]], probe: (&CStr, &[&[u8]])) -> Rights {
    let is_connection = user_of(ctx, caller(ctx)).is_some();
    match try_as_caller(ctx, probe.0, probe.1) {
        Rights::NoCommand => return Rights::NoCommand,
        Rights::NoUser if !is_connection => return Rights::NoUser,
        _ => {}
    }
    // SAFETY: the caller has a user, as was just seen.
    let name = api!(RedisModule_GetCurrentUserName).map(|get| unsafe { get(ctx.raw()) });
    // SAFETY: made for us, as no automatic memory is on.
    let name = name.and_then(|name| unsafe { Text::take(name) });
    if name.is_some_and(|name| may(&name, words)) {
        Rights::Granted
    } else {
        Rights::Denied
    }
}

/// A user of the server's.
struct User(NonNull<raw::RedisModuleUser>);

impl User {
    fn find(name: &Text) -> Option<User> {
        // SAFETY: a valid string; the result is ours.
        let found = api!(RedisModule_GetModuleUserFromUserName).map(|get| unsafe { get(name.raw()) })?;
        NonNull::new(found).map(User)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: made by `find`, and freed once.
        api!(RedisModule_FreeModuleUser).map(|free| unsafe { free(self.0.as_ptr()) });
    }
}

/// Whether the server has a user of this name.
pub fn is_user(name: &[u8]) -> bool {
    Text::new(name).is_some_and(|name| User::find(&name).is_some())
}

/// Whether the user of this name may run a command of the server's own.
pub fn user_may(name: &[u8], words: &[&[u8]]) -> bool {
    Text::new(name).is_some_and(|name| may(&name, words))
}

fn may(name: &Text, words: &[&[u8]]) -> bool {
    let Some(user) = User::find(name) else {
        return false;
    };
    let texts: Vec<Text> = words.iter().filter_map(|word| Text::new(word)).collect();
    let mut pointers: Vec<*mut raw::RedisModuleString> = texts.iter().map(Text::raw).collect();
    // Part of a command would be another one.
    let count = match c_int::try_from(pointers.len()) {
        Ok(count) if count > 0 && pointers.len() == words.len() => count,
        _ => return false,
    };
    // SAFETY: an array of valid strings and its length.
    let answer = api!(RedisModule_ACLCheckCommandPermissions)
        .map(|check| unsafe { check(user.0.as_ptr(), pointers.as_mut_ptr(), count) });
    answer == Some(OK)
}
