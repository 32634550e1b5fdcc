//! The server's module API, made safe: the only place, with [`crate::kernel`] for the kernel's, that has
//! `unsafe`. Every function here answers sensibly where a server lacks the API behind it. Decides
//! nothing.

pub mod call;
pub mod client;
pub mod command;
pub mod event;
pub mod guard;
pub mod ran;
pub mod register;
pub mod reply;
pub mod server_info;
pub mod text;
pub mod words;

use redis_module::raw;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The server's context of one call; valid only during that call, hence neither `Send` nor storable
/// beyond it.
#[derive(Clone, Copy)]
pub struct Context(*mut raw::RedisModuleCtx);

impl Context {
    pub fn new(ctx: *mut raw::RedisModuleCtx) -> Self {
        Context(ctx)
    }

    pub fn raw(self) -> *mut raw::RedisModuleCtx {
        self.0
    }
}

/// Calls a function of the module API that the server may lack.
macro_rules! api {
    ($name:ident ( $($arg:expr),* $(,)? )) => {{
        // SAFETY: the server fills these pointers in before it calls anything of ours, and never changes
        // them; whoever writes `api!` vouches for the arguments in a comment of its own.
        let function = unsafe { redis_module::raw::$name };
        // SAFETY: as above.
        function.map(|f| unsafe { f($($arg),*) })
    }};
}
pub(crate) use api;

/// Whether the API behind `name` is there.
macro_rules! has_api {
    ($name:ident) => {{
        // SAFETY: filled in at load and never changed.
        unsafe { redis_module::raw::$name }.is_some()
    }};
}
pub(crate) use has_api;

const OK: c_int = raw::REDISMODULE_OK as c_int;

/// Closes a client by id, soon after this returns; `false` when there is none.
pub fn close_client(ctx: Context, id: u64) -> bool {
    // SAFETY: the id is looked up by the server; the context is not used to find the client.
    api!(RedisModule_DeauthenticateAndCloseClient(ctx.raw(), id)) == Some(OK)
}

/// Whether clients are paused, or the server hands over to a replica.
pub fn is_paused() -> bool {
    // SAFETY: takes no arguments.
    api!(RedisModule_AvoidReplicaTraffic()).is_some_and(|yes| yes != 0)
}

/// Whether a script runs, or a dataset is loaded: what the event loop calls then, it calls from inside of these.
/// Of another module's command that yields the server does not tell.
pub fn is_in_script_or_loading(ctx: Context) -> bool {
    const INSIDE: u32 = raw::REDISMODULE_CTX_FLAGS_LUA
        | raw::REDISMODULE_CTX_FLAGS_LOADING
        | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;
    // SAFETY: reads flags only.
    let flags = api!(RedisModule_GetContextFlags(ctx.raw())).unwrap_or(0);
    flags & INSIDE as c_int != 0
}

/// How many bytes the server's allocator gives for so many; `None` where it does not say.
pub fn allocated(bytes: u64) -> Option<u64> {
    let bytes = usize::try_from(bytes).ok()?;
    // SAFETY: asks for memory, which is freed below.
    let place = api!(RedisModule_Alloc(bytes)).filter(|place| !place.is_null())?;
    // SAFETY: what was just allocated.
    let given = api!(RedisModule_MallocSize(place));
    // SAFETY: the same, freed once.
    let _ = api!(RedisModule_Free(place));
    u64::try_from(given?).ok()
}

/// Whether the server has a forked child (BGSAVE, AOF rewrite, a replica's full sync).
pub fn has_child(ctx: Context) -> bool {
    // SAFETY: reads flags only.
    let flags = api!(RedisModule_GetContextFlags(ctx.raw())).unwrap_or(0);
    flags & raw::REDISMODULE_CTX_FLAGS_ACTIVE_CHILD as c_int != 0
}

/// The version of the server, or that of the Redis which it is compatible with, as 0x00MMmmpp.
pub fn server_version() -> c_int {
    // SAFETY: takes no arguments.
    api!(RedisModule_GetServerVersion()).unwrap_or(0)
}

/// Id of the client that runs the current command; 0 when there is none.
pub fn caller(ctx: Context) -> u64 {
    // SAFETY: reads the context's client.
    api!(RedisModule_GetClientId(ctx.raw())).unwrap_or(0)
}

/// Whether a connection is TLS, as the server knows it.
pub fn is_tls(id: u64) -> bool {
    client::info(id).is_some_and(|info| info.is_tls())
}

/// A context of the module's own that outlives calls, for work that the event loop starts.
static OWN: AtomicPtr<raw::RedisModuleCtx> = AtomicPtr::new(std::ptr::null_mut());

pub fn make_own_context(ctx: Context) {
    // SAFETY: the module's own context; the result belongs to us until `free_own_context`.
    let made = api!(RedisModule_GetDetachedThreadSafeContext(ctx.raw()));
    OWN.store(made.unwrap_or(std::ptr::null_mut()), Ordering::Relaxed);
}

pub fn own_context() -> Option<Context> {
    let ctx = OWN.load(Ordering::Relaxed);
    (!ctx.is_null()).then_some(Context(ctx))
}

pub fn free_own_context() {
    let ctx = OWN.swap(std::ptr::null_mut(), Ordering::Relaxed);
    if !ctx.is_null() {
        // SAFETY: made by `make_own_context`, and taken out of the cell, so freed once.
        let _ = api!(RedisModule_FreeThreadSafeContext(ctx));
    }
}

/// HANDLE_REPL_ASYNC_LOAD, since without it diskless `swapdb` loading is off; and what Valkey 9 calls
/// HANDLE_ATOMIC_SLOT_MIGRATION (1<<5), since without it CLUSTER MIGRATESLOTS is refused. Servers
/// ignore options that they don't know.
pub fn stay_out_of_the_way(ctx: Context) {
    let options = raw::REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD as c_int | 1 << 5;
    // SAFETY: sets flags of this module only.
    let _ = api!(RedisModule_SetModuleOptions(ctx.raw(), options));
}

/// Whether the server has all of the API that eviction cannot do without.
pub fn has_what_it_needs() -> bool {
    has_api!(RedisModule_SubscribeToServerEvent)
        && has_api!(RedisModule_DeauthenticateAndCloseClient)
        && has_api!(RedisModule_EventLoopAdd)
        && has_api!(RedisModule_RegisterStringConfig)
        && has_api!(RedisModule_LoadConfigs)
        && has_api!(RedisModule_SetCommandInfo)
        && has_api!(RedisModule_Call)
}
