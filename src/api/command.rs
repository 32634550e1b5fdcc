//! Commands: making them known to the server, with all that COMMAND DOCS and ACL want to know, and
//! running them behind the panic guard.

use super::call::call_as_caller;
use super::text::{c_string, user_of, words, Text};
use super::{api, caller, guard, ran, Context, OK};
use redis_module::raw;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int};
use std::ptr::NonNull;

/// What a command does.
pub trait Command {
    fn run(ctx: Context, args: &[&[u8]]);
}

/// How an argument looks.
#[derive(Clone, Debug)]
pub enum Kind {
    Text,
    Integer,
    /// The token alone.
    Token,
    OneOf(Vec<Arg>),
    /// All of them, in this order.
    Block(Vec<Arg>),
}

/// One argument, as COMMAND DOCS tells of it.
#[derive(Clone, Debug)]
pub struct Arg {
    pub name: &'static str,
    pub kind: Kind,
    pub token: Option<&'static str>,
    pub optional: bool,
    pub multiple: bool,
}

/// A command or subcommand.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: &'static str,
    pub flags: &'static str,
    /// Categories, where the server lets modules give them.
    pub acl: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    /// As the server counts: with the command's own words, negative for at least.
    pub arity: i32,
    pub args: Vec<Arg>,
}

/// Whether modules can give their commands ACL categories (Redis 7.2 and later, Valkey).
pub fn has_categories() -> bool {
    api!(RedisModule_SetCommandACLCategories).is_some()
}

/// Adds a command.
pub fn register<C: Command>(ctx: Context, spec: &Spec) -> bool {
    let (name, flags) = (c_string(spec.name), c_string(spec.flags));
    // SAFETY: the server copies the strings, and the callback lives as long as the library.
    let made = api!(RedisModule_CreateCommand).map(|call| unsafe {
        call(
            ctx.raw(),
            name.as_ptr(),
            Some(on_command::<C>),
            flags.as_ptr(),
            0,
            0,
            0,
        )
    });
    made == Some(OK) && Registered::find(ctx, spec.name).is_some_and(|command| command.describe(spec))
}

/// Adds a command that only has subcommands.
pub fn register_container(ctx: Context, spec: &Spec) -> bool {
    let (name, flags) = (c_string(spec.name), c_string(spec.flags));
    // SAFETY: as above; a container has no callback.
    let made = api!(RedisModule_CreateCommand)
        .map(|call| unsafe { call(ctx.raw(), name.as_ptr(), None, flags.as_ptr(), 0, 0, 0) });
    made == Some(OK) && Registered::find(ctx, spec.name).is_some_and(|command| command.describe(spec))
}

/// Adds a subcommand to the container `parent`.
pub fn register_sub<C: Command>(ctx: Context, parent: &str, spec: &Spec) -> bool {
    let (name, flags) = (c_string(spec.name), c_string(spec.flags));
    let Some(container) = Registered::find(ctx, parent) else {
        return false;
    };
    // SAFETY: as above, and the parent is a container that was just made.
    let made = api!(RedisModule_CreateSubcommand).map(|call| unsafe {
        call(
            container.0.as_ptr(),
            name.as_ptr(),
            Some(on_command::<C>),
            flags.as_ptr(),
            0,
            0,
            0,
        )
    });
    let full_name = format!("{parent}|{}", spec.name);
    made == Some(OK) && Registered::find(ctx, &full_name).is_some_and(|command| command.describe(spec))
}

/// A command of this module's, while it is being loaded.
struct Registered<'call>(NonNull<raw::RedisModuleCommand>, PhantomData<Context<'call>>);

impl<'call> Registered<'call> {
    fn find(ctx: Context<'call>, name: &str) -> Option<Self> {
        let name = c_string(name);
        // SAFETY: looks the name up among this module's commands.
        let found = api!(RedisModule_GetCommand).map(|get| unsafe { get(ctx.raw(), name.as_ptr()) })?;
        Some(Registered(NonNull::new(found)?, PhantomData))
    }

    fn describe(&self, spec: &Spec) -> bool {
        let mut arena = Arena::default();
        let version = raw::RedisModuleCommandInfoVersion {
            version: 1,
            sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
            sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
            sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
        };
        let info = raw::RedisModuleCommandInfo {
            version: &raw const version,
            summary: arena.text(spec.summary),
            complexity: arena.text(spec.complexity),
            since: arena.text(env!("CARGO_PKG_VERSION")),
            history: std::ptr::null_mut(),
            tips: std::ptr::null(),
            arity: spec.arity,
            key_specs: std::ptr::null_mut(),
            args: arena.list(&spec.args),
        };
        let command = self.0.as_ptr();
        // SAFETY: the structure says its version and sizes, the lists end with zeros, and all of it lives
        // in `arena` until the server has copied it.
        let described =
            api!(RedisModule_SetCommandInfo).map(|set| unsafe { set(command, &raw const info) }) == Some(OK);
        let acl = c_string(spec.acl);
        // SAFETY: a command of this module's, in OnLoad.
        let categorized =
            api!(RedisModule_SetCommandACLCategories).map(|set| unsafe { set(command, acl.as_ptr()) });
        described && categorized.is_none_or(|answer| answer == OK)
    }
}

/// Keeps what the server reads through pointers alive while it copies it.
#[derive(Default)]
struct Arena {
    texts: Vec<CString>,
    args: Vec<Vec<raw::RedisModuleCommandArg>>,
}

impl Arena {
    fn text(&mut self, text: &str) -> *const c_char {
        let text = c_string(text);
        let start = text.as_ptr();
        self.texts.push(text);
        start
    }

    /// A list that ends with an entry of zeros, as the server wants it.
    fn list(&mut self, args: &[Arg]) -> *mut raw::RedisModuleCommandArg {
        if args.is_empty() {
            return std::ptr::null_mut();
        }
        let mut list: Vec<raw::RedisModuleCommandArg> = args.iter().map(|arg| self.arg(arg)).collect();
        // SAFETY: a structure of pointers and integers, for which zeros are valid.
        list.push(unsafe { std::mem::zeroed() });
        let start = list.as_mut_ptr();
        self.args.push(list);
        start
    }

    fn arg(&mut self, arg: &Arg) -> raw::RedisModuleCommandArg {
        let (kind, subargs) = match &arg.kind {
            Kind::Text => (raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING, None),
            Kind::Integer => (raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER, None),
            Kind::Token => (
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
                None,
            ),
            Kind::OneOf(args) => (
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
                Some(args),
            ),
            Kind::Block(args) => (
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
                Some(args),
            ),
        };
        let mut flags = raw::REDISMODULE_CMD_ARG_NONE;
        if arg.optional {
            flags |= raw::REDISMODULE_CMD_ARG_OPTIONAL;
        }
        if arg.multiple {
            flags |= raw::REDISMODULE_CMD_ARG_MULTIPLE;
        }
        raw::RedisModuleCommandArg {
            name: self.text(arg.name),
            type_: kind,
            key_spec_index: -1,
            token: arg.token.map_or(std::ptr::null(), |token| self.text(token)),
            summary: std::ptr::null(),
            since: std::ptr::null(),
            flags: flags as c_int,
            deprecated_since: std::ptr::null(),
            subargs: subargs.map_or(std::ptr::null_mut(), |args| self.list(args)),
            display_text: std::ptr::null(),
        }
    }
}

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
pub fn rights_by_name(ctx: Context, words: &[&[u8]], probe: (&CStr, &[&[u8]])) -> Rights {
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

unsafe extern "C" fn on_command<C: Command>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's context of this call.
    let ctx = unsafe { Context::new(ctx) };
    ran::note(ctx);
    // SAFETY: the server passes an array of valid strings and its length, for this call.
    let args = unsafe { words(argv, argc) };
    if guard::enter("command", || C::run(ctx, &args)).is_none() {
        ctx.reply_error("ERR connage: internal fault, eviction has stopped: see the server's log");
    }
    OK
}
