//! Where the server enters when it loads the module, and before it unloads it.

use super::text::words;
use super::{guard, Context, OK};
use redis_module::raw;
use std::ffi::CStr;
use std::os::raw::c_int;

const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// The module, as loading and unloading need it.
pub trait Module {
    const NAME: &'static CStr;
    /// 1.2.3 is 10203.
    const VERSION: c_int;
    /// Whether it is loaded; `args` are the words behind its path.
    fn load(ctx: Context, args: &[&[u8]]) -> bool;
    /// Whether it may be unloaded now.
    fn unload(ctx: Context) -> bool;
}

/// # Safety
/// For the server's own call of `RedisModule_OnLoad`, with its arguments.
pub unsafe fn on_load<M: Module>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's context, and a constant C string. Nothing allocates before this: the
    // allocator is the server's, and is known only afterwards.
    let made = unsafe {
        raw::Export_RedisModule_Init(
            ctx,
            M::NAME.as_ptr(),
            M::VERSION,
            raw::REDISMODULE_APIVER_1 as c_int,
        )
    };
    if made != OK {
        return ERR;
    }
    guard::heal();
    // SAFETY: the server's context of this call.
    let ctx = unsafe { Context::new(ctx) };
    // SAFETY: the server's own words, for this call.
    let args = unsafe { words(argv, argc) };
    if M::load(ctx, &args) {
        OK
    } else {
        ERR
    }
}

/// # Safety
/// For the server's own call of `RedisModule_OnUnload`, with its argument.
pub unsafe fn on_unload<M: Module>(ctx: *mut raw::RedisModuleCtx) -> c_int {
    // SAFETY: the server's context of this call.
    let ctx = unsafe { Context::new(ctx) };
    if M::unload(ctx) {
        OK
    } else {
        ERR
    }
}
