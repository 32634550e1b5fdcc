//! Commands: making them known to the server, with all that COMMAND DOCS and ACL want to know, and
//! running them behind the panic guard.

use super::text::{c_string, words};
use super::{api, guard, ran, Context, OK};
use redis_module::raw;
use std::ffi::CString;
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
