//! The server's module API, made safe: the only place, with [`crate::kernel`] for the kernel's, that has
//! `unsafe`. Every function here answers sensibly where a server lacks the API behind it. Decides
//! nothing.

pub mod call;
pub mod client;
pub mod command;
pub mod entry;
pub mod event;
pub mod guard;
pub mod interned;
pub mod log;
pub mod ran;
pub mod reply;
pub mod rights;
pub mod server_info;
pub mod setting;
pub mod text;

use redis_module::raw;
use std::marker::PhantomData;
use std::os::raw::c_int;
use std::ptr::NonNull;
use std::sync::RwLock;

/// The server's context of one call; valid only during that call, which is what `'call` stands for, and not to be
/// sent to another thread.
#[derive(Clone, Copy)]
pub struct Context<'call>(*mut raw::RedisModuleCtx, PhantomData<&'call ()>);

impl Context<'_> {
    /// # Safety
    /// The pointer is one that the server has given, or null, and is valid for as long as the context is used.
    unsafe fn new(ctx: *mut raw::RedisModuleCtx) -> Self {
        Context(ctx, PhantomData)
    }

    fn raw(self) -> *mut raw::RedisModuleCtx {
        self.0
    }
}

/// A function of the module API, if the server has it. To call it is `unsafe`, and for its caller to vouch for.
macro_rules! api {
    ($name:ident) => {{
        // SAFETY: the server fills these pointers in before it calls anything of ours, and never changes them.
        unsafe { redis_module::raw::$name }
    }};
}
pub(crate) use api;

const OK: c_int = raw::REDISMODULE_OK as c_int;

/// Closes a client by id, soon after this returns; `false` when there is none.
pub fn close_client(ctx: Context, id: u64) -> bool {
    // SAFETY: the id is looked up by the server; the context is not used to find the client.
    api!(RedisModule_DeauthenticateAndCloseClient).map(|call| unsafe { call(ctx.raw(), id) }) == Some(OK)
}

/// Whether clients are paused, or the server hands over to a replica.
pub fn is_paused() -> bool {
    // SAFETY: takes no arguments.
    api!(RedisModule_AvoidReplicaTraffic)
        .map(|call| unsafe { call() })
        .is_some_and(|yes| yes != 0)
}

/// Whether a script runs, or a dataset is loaded: what the event loop calls then, it calls from inside of these.
/// Of another module's command that yields the server does not tell.
pub fn is_in_script_or_loading(ctx: Context) -> bool {
    const INSIDE: u32 = raw::REDISMODULE_CTX_FLAGS_LUA
        | raw::REDISMODULE_CTX_FLAGS_LOADING
        | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;
    // SAFETY: reads flags only.
    let flags = api!(RedisModule_GetContextFlags)
        .map(|call| unsafe { call(ctx.raw()) })
        .unwrap_or(0);
    flags & INSIDE as c_int != 0
}

/// How many bytes the server's allocator gives for so many; `None` where it does not say.
pub fn allocated(bytes: u64) -> Option<u64> {
    let bytes = usize::try_from(bytes).ok()?;
    // SAFETY: asks for memory, which is freed below.
    let place = api!(RedisModule_Alloc)
        .map(|call| unsafe { call(bytes) })
        .filter(|place| !place.is_null())?;
    // SAFETY: what was just allocated.
    let given = api!(RedisModule_MallocSize).map(|call| unsafe { call(place) });
    // SAFETY: the same, freed once.
    api!(RedisModule_Free).map(|call| unsafe { call(place) });
    u64::try_from(given?).ok()
}

/// Whether the server has a forked child (BGSAVE, AOF rewrite, a replica's full sync).
pub fn has_child(ctx: Context) -> bool {
    // SAFETY: reads flags only.
    let flags = api!(RedisModule_GetContextFlags)
        .map(|call| unsafe { call(ctx.raw()) })
        .unwrap_or(0);
    flags & raw::REDISMODULE_CTX_FLAGS_ACTIVE_CHILD as c_int != 0
}

/// The version of the server, or that of the Redis which it is compatible with, as 0x00MMmmpp.
pub fn server_version() -> c_int {
    // SAFETY: takes no arguments.
    api!(RedisModule_GetServerVersion)
        .map(|call| unsafe { call() })
        .unwrap_or(0)
}

/// Id of the client that runs the current command; 0 when there is none.
pub fn caller(ctx: Context) -> u64 {
    // SAFETY: reads the context's client.
    api!(RedisModule_GetClientId)
        .map(|call| unsafe { call(ctx.raw()) })
        .unwrap_or(0)
}

/// Whether a connection is TLS, as the server knows it.
pub fn is_tls(id: u64) -> bool {
    client::info(id).is_some_and(|info| info.is_tls())
}

/// A context of the module's own that outlives calls, for work that the event loop starts.
struct OwnContext(NonNull<raw::RedisModuleCtx>);

// SAFETY: the server does not bind such a context to a thread ("thread-safe"); it is used by whoever has the
// server to itself: the main thread, or one that holds its lock.
unsafe impl Send for OwnContext {}
// SAFETY: as above.
unsafe impl Sync for OwnContext {}

impl Drop for OwnContext {
    fn drop(&mut self) {
        // SAFETY: made by `make_own_context`, and freed once.
        api!(RedisModule_FreeThreadSafeContext).map(|free| unsafe { free(self.0.as_ptr()) });
    }
}

static OWN: RwLock<Option<OwnContext>> = RwLock::new(None);

pub fn make_own_context(ctx: Context) {
    // SAFETY: a context of the module's; the result belongs to us.
    let made = api!(RedisModule_GetDetachedThreadSafeContext).map(|make| unsafe { make(ctx.raw()) });
    if let Ok(mut own) = OWN.try_write() {
        *own = made.and_then(NonNull::new).map(OwnContext);
    }
}

/// Lends the module's own context; `None` where there is none. It may be lent again meanwhile, but not freed.
pub fn with_own_context<R>(work: impl FnOnce(Context) -> R) -> Option<R> {
    let own = OWN.try_read().ok()?;
    let ctx = own.as_ref()?.0.as_ptr();
    // SAFETY: it is freed by nobody as long as `own` is held.
    Some(work(unsafe { Context::new(ctx) }))
}

pub fn free_own_context() {
    if let Ok(mut own) = OWN.try_write() {
        *own = None;
    }
}

/// HANDLE_REPL_ASYNC_LOAD, since without it diskless `swapdb` loading is off; and what Valkey 9 calls
/// HANDLE_ATOMIC_SLOT_MIGRATION (1<<5), since without it CLUSTER MIGRATESLOTS is refused. Servers
/// ignore options that they don't know.
pub fn stay_out_of_the_way(ctx: Context) {
    let options = raw::REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD as c_int | 1 << 5;
    // SAFETY: sets flags of this module only.
    api!(RedisModule_SetModuleOptions).map(|call| unsafe { call(ctx.raw(), options) });
}

/// Whether the server has all of the API that eviction cannot do without.
pub fn has_what_it_needs() -> bool {
    api!(RedisModule_SubscribeToServerEvent).is_some()
        && api!(RedisModule_DeauthenticateAndCloseClient).is_some()
        && api!(RedisModule_EventLoopAdd).is_some()
        && api!(RedisModule_RegisterStringConfig).is_some()
        && api!(RedisModule_LoadConfigs).is_some()
        && api!(RedisModule_SetCommandInfo).is_some()
        && api!(RedisModule_Call).is_some()
}
