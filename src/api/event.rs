//! Events of the server's, and of its event loop, each behind the panic guard.

use super::{api, guard, Context, OK};
use redis_module::raw;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::os::raw::{c_char, c_int, c_void};

/// What the module does with events.
pub trait Events {
    fn connected(ctx: Context, id: u64, tls: bool);
    fn disconnected(ctx: Context, id: u64);
    /// A setting of the server's has a new value.
    fn setting_changed(name: &[u8]);
    /// `hz` times a second.
    fn cron(ctx: Context);
    /// The event loop has polled; replies of the round before have left.
    fn after_sleep(ctx: Context);
    /// The timer's descriptor can be read.
    fn timer(fd: c_int);
}

/// The API's header defines events as static constants, which no symbol stands for.
fn named(id: u64) -> raw::RedisModuleEvent {
    raw::RedisModuleEvent { id, dataver: 1 }
}

/// CLIENT_CHANGE, for as long as the module is loaded.
pub fn subscribe_clients<E: Events>(ctx: Context) -> bool {
    let event = named(raw::REDISMODULE_EVENT_CLIENT_CHANGE);
    // SAFETY: a callback that lives as long as the library; the server drops it before it unloads it.
    api!(RedisModule_SubscribeToServerEvent)
        .map(|call| unsafe { call(ctx.raw(), event, Some(on_client::<E>)) })
        == Some(OK)
}

/// CONFIG, likewise.
pub fn subscribe_settings<E: Events>(ctx: Context) -> bool {
    let event = named(raw::REDISMODULE_EVENT_CONFIG);
    // SAFETY: as above.
    api!(RedisModule_SubscribeToServerEvent)
        .map(|call| unsafe { call(ctx.raw(), event, Some(on_settings::<E>)) })
        == Some(OK)
}

/// CRON_LOOP, likewise.
pub fn subscribe_cron<E: Events>(ctx: Context) -> bool {
    let event = named(raw::REDISMODULE_EVENT_CRON_LOOP);
    // SAFETY: as above.
    api!(RedisModule_SubscribeToServerEvent).map(|call| unsafe { call(ctx.raw(), event, Some(on_cron::<E>)) })
        == Some(OK)
}

/// AFTER_SLEEP, while there is work. Never to be called inside a server event: the server walks its
/// listeners then, and would go on with one that was freed.
pub fn subscribe_loop<E: Events>(ctx: Context, wanted: bool) -> bool {
    let event = named(raw::REDISMODULE_EVENT_EVENTLOOP);
    let callback: raw::RedisModuleEventCallback = if wanted { Some(on_loop::<E>) } else { None };
    // SAFETY: as in `subscribe_clients`; without a callback the server unsubscribes.
    api!(RedisModule_SubscribeToServerEvent).map(|call| unsafe { call(ctx.raw(), event, callback) })
        == Some(OK)
}

/// Ends all subscriptions, those too that there are not. Redis 7.0 keeps those of a module that fails to load, and
/// calls what is no longer there.
pub fn unsubscribe(ctx: Context) {
    for id in [
        raw::REDISMODULE_EVENT_CLIENT_CHANGE,
        raw::REDISMODULE_EVENT_CONFIG,
        raw::REDISMODULE_EVENT_CRON_LOOP,
        raw::REDISMODULE_EVENT_EVENTLOOP,
    ] {
        // To unsubscribe from what one is not subscribed to is to subscribe with no callback, which is called.
        let callbacks: [raw::RedisModuleEventCallback; 2] = [Some(ignore), None];
        for callback in callbacks {
            // SAFETY: as in `subscribe_clients`; without a callback the server unsubscribes.
            api!(RedisModule_SubscribeToServerEvent)
                .map(|call| unsafe { call(ctx.raw(), named(id), callback) });
        }
    }
}

unsafe extern "C" fn ignore(
    _ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
}

/// A descriptor of our own that the server's loop waits for, until this is dropped.
#[derive(Debug)]
pub struct Watched<T: AsRawFd>(T);

impl<T: AsRawFd> Watched<T> {
    /// Calls [`Events::timer`] whenever `waited_for` can be read; `None` where the loop does not take it.
    pub fn new<E: Events>(waited_for: T) -> Option<Self> {
        let mask = raw::REDISMODULE_EVENTLOOP_READABLE as c_int;
        // SAFETY: the descriptor is ours, and leaves the loop before it is closed: see `drop`.
        let added = api!(RedisModule_EventLoopAdd).map(|call| unsafe {
            call(
                waited_for.as_raw_fd(),
                mask,
                Some(on_timer::<E>),
                std::ptr::null_mut(),
            )
        });
        (added == Some(OK)).then_some(Watched(waited_for))
    }

    pub fn get(&self) -> &T {
        &self.0
    }
}

impl<T: AsRawFd> Drop for Watched<T> {
    fn drop(&mut self) {
        let mask = raw::REDISMODULE_EVENTLOOP_READABLE as c_int;
        // SAFETY: takes a descriptor out of the loop that is still open.
        api!(RedisModule_EventLoopDel).map(|call| unsafe { call(self.0.as_raw_fd(), mask) });
    }
}

unsafe extern "C" fn on_client<E: Events>(
    ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    subevent: u64,
    data: *mut c_void,
) {
    if data.is_null() {
        return;
    }
    // SAFETY: with this event the server passes a RedisModuleClientInfo, of at least version 1.
    let info = unsafe { &*data.cast::<raw::RedisModuleClientInfo>() };
    let (id, flags) = (info.id, info.flags);
    let tls = flags & u64::from(raw::REDISMODULE_CLIENTINFO_FLAG_SSL) != 0;
    // SAFETY: the server's context of this call.
    let ctx = unsafe { Context::new(ctx) };
    let work = || match subevent {
        raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_CONNECTED => E::connected(ctx, id, tls),
        raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED => E::disconnected(ctx, id),
        _ => {}
    };
    guard::enter("client-event", work);
}

/// RedisModuleConfigChange of the API's header, version 1.
#[repr(C)]
struct SettingsChange {
    version: u64,
    changes: u32,
    names: *const *const c_char,
}

unsafe extern "C" fn on_settings<E: Events>(
    _ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    data: *mut c_void,
) {
    if data.is_null() {
        return;
    }
    // SAFETY: with this event the server passes such a structure, of at least version 1.
    let change = unsafe { &*data.cast::<SettingsChange>() };
    if change.names.is_null() {
        return;
    }
    let work = || {
        for index in 0..change.changes as usize {
            // SAFETY: there are so many names.
            let name = unsafe { change.names.add(index) };
            // SAFETY: a place in the server's array.
            let name = unsafe { *name };
            // SAFETY: each is a C string that outlives this call.
            E::setting_changed(unsafe { CStr::from_ptr(name) }.to_bytes());
        }
    };
    guard::enter("settings-event", work);
}

unsafe extern "C" fn on_cron<E: Events>(
    ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    // SAFETY: the server's context of this call.
    let ctx = unsafe { Context::new(ctx) };
    guard::enter("cron", || E::cron(ctx));
}

unsafe extern "C" fn on_loop<E: Events>(
    ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    subevent: u64,
    _data: *mut c_void,
) {
    if subevent == raw::REDISMODULE_SUBEVENT_EVENTLOOP_AFTER_SLEEP {
        // SAFETY: the server's context of this call.
        let ctx = unsafe { Context::new(ctx) };
        guard::enter("event-loop", || E::after_sleep(ctx));
    }
}

unsafe extern "C" fn on_timer<E: Events>(fd: c_int, _data: *mut c_void, _mask: c_int) {
    guard::enter("timer", || E::timer(fd));
}
