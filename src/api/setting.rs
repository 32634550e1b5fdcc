//! The module's settings in the server's own store.

use super::text::{bytes_of, c_string, Text};
use super::{api, guard, Context, OK};
use redis_module::raw;
use std::os::raw::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// The module's settings, by their place in its table.
pub trait Store {
    fn get(index: usize) -> String;
    fn set(index: usize, value: &[u8]) -> Result<(), String>;
    /// All values of one CONFIG SET have been set.
    fn apply();
}

/// Settings there may be.
const PLACES: usize = 64;
/// What the server was last given for each setting: it reads it after the callback has returned, and
/// leaves freeing it to us.
static LENT: [AtomicPtr<raw::RedisModuleString>; PLACES] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; PLACES];

/// Adds a setting; its name without the module's.
pub fn register<S: Store>(ctx: Context, index: usize, name: &str, default: &str) -> bool {
    let (name, default) = (c_string(name), c_string(default));
    // SAFETY: the server copies the strings, and the callbacks live as long as the library; the
    // private data is a number in the guise of a pointer.
    let done = api!(RedisModule_RegisterStringConfig).map(|call| unsafe {
        call(
            ctx.raw(),
            name.as_ptr(),
            default.as_ptr(),
            raw::REDISMODULE_CONFIG_DEFAULT,
            Some(on_get::<S>),
            Some(on_set::<S>),
            Some(on_apply::<S>),
            index as *mut c_void,
        )
    });
    index < PLACES && done == Some(OK)
}

/// Has the server give every setting its value: from its configuration file, or else the default.
pub fn load_all(ctx: Context) -> bool {
    // SAFETY: to be called once, in OnLoad, after all settings are registered.
    api!(RedisModule_LoadConfigs).map(|call| unsafe { call(ctx.raw()) }) == Some(OK)
}

/// Takes back what the server was lent.
pub fn free_lent() {
    for place in &LENT {
        let lent = place.swap(std::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: made by `on_get`, and taken out of its place, so freed once.
        drop(unsafe { Text::take(lent) });
    }
}

unsafe extern "C" fn on_get<S: Store>(
    _name: *const c_char,
    index: *mut c_void,
) -> *mut raw::RedisModuleString {
    let index = index as usize;
    let value = guard::enter("setting", || S::get(index)).unwrap_or_default();
    let made = Text::new(value.as_bytes()).map_or(std::ptr::null_mut(), Text::into_raw);
    if let Some(place) = LENT.get(index) {
        let lent = place.swap(made, Ordering::Relaxed);
        // SAFETY: made by an earlier call, and taken out of its place, so freed once. The server has read it: it
        // copies a value before it asks for another.
        drop(unsafe { Text::take(lent) });
    }
    made
}

unsafe extern "C" fn on_set<S: Store>(
    _name: *const c_char,
    value: *mut raw::RedisModuleString,
    index: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the server lends a valid string for this call.
    let value = unsafe { bytes_of(value) };
    let result = guard::enter("setting", || S::set(index as usize, value));
    let message = match result {
        Some(Ok(())) => return OK,
        Some(Err(message)) => message,
        None => "internal fault: see the server's log".to_owned(),
    };
    if let (false, Some(text)) = (error.is_null(), Text::new(message.as_bytes())) {
        // SAFETY: the server gives a place for the message, and frees it.
        unsafe { *error = text.into_raw() };
    }
    raw::REDISMODULE_ERR as c_int
}

unsafe extern "C" fn on_apply<S: Store>(
    _ctx: *mut raw::RedisModuleCtx,
    _index: *mut c_void,
    _error: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard::enter("setting", S::apply);
    OK
}
