//! Commands that we ask the server to run.

use super::text::Text;
use super::{api, Context};
use redis_module::raw;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int};
use std::slice;

/// What a command answered. Not to outlive the context of the call that asked: the server looks into that when the
/// reply is freed.
pub struct Reply<'call>(*mut raw::RedisModuleCallReply, PhantomData<Context<'call>>);

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        // SAFETY: made by RM_Call for us, and freed once.
        api!(RedisModule_FreeCallReply).map(|call| unsafe { call(self.0) });
    }
}

impl Reply<'_> {
    pub(super) fn raw(&self) -> *mut raw::RedisModuleCallReply {
        self.0
    }

    fn kind(&self) -> c_int {
        // SAFETY: a valid reply.
        api!(RedisModule_CallReplyType)
            .map(|call| unsafe { call(self.0) })
            .unwrap_or(raw::REDISMODULE_REPLY_UNKNOWN as c_int)
    }

    fn is(&self, kind: isize) -> bool {
        self.kind() == kind as c_int
    }

    /// # Safety
    /// The server vouches for pointer and length for as long as the reply lives; or the pointer is null.
    unsafe fn borrow(&self, start: *const c_char, len: usize) -> Option<&[u8]> {
        // SAFETY: as above.
        (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), len) })
    }

    /// A text: bulk, simple or verbatim, which differs from server to server.
    pub fn text(&self) -> Option<&[u8]> {
        let mut len = 0;
        if self.is(raw::REDISMODULE_REPLY_STRING) {
            // SAFETY: a valid reply.
            let start =
                api!(RedisModule_CallReplyStringPtr).map(|call| unsafe { call(self.0, &raw mut len) })?;
            // SAFETY: what the server has just told of this reply.
            return unsafe { self.borrow(start, len) };
        }
        if self.is(raw::REDISMODULE_REPLY_VERBATIM_STRING) {
            let mut format = std::ptr::null();
            // SAFETY: a valid reply of this kind.
            let start = api!(RedisModule_CallReplyVerbatim)
                .map(|call| unsafe { call(self.0, &raw mut len, &raw mut format) })?;
            // SAFETY: what the server has just told of this reply.
            return unsafe { self.borrow(start, len) };
        }
        None
    }

    /// The text of an error reply, its code in front.
    pub fn error(&self) -> Option<&[u8]> {
        if !self.is(raw::REDISMODULE_REPLY_ERROR) {
            return None;
        }
        let mut len = 0;
        // SAFETY: a valid reply.
        let start = api!(RedisModule_CallReplyStringPtr).map(|call| unsafe { call(self.0, &raw mut len) })?;
        // SAFETY: what the server has just told of this reply.
        unsafe { self.borrow(start, len) }
    }

    /// Whether it says that there is no such command.
    pub fn is_of_no_command(&self) -> bool {
        const WORDS: &[u8] = b"unknown command";
        let says = |error: &[u8]| error.windows(WORDS.len()).any(|window| window == WORDS);
        self.error().is_some_and(says)
    }

    /// Element `index` of an array.
    pub fn element(&self, index: usize) -> Option<Vec<u8>> {
        // SAFETY: a valid reply; out of range gives null. An element belongs to its array.
        let element = api!(RedisModule_CallReplyArrayElement).map(|call| unsafe { call(self.0, index) })?;
        if element.is_null() {
            return None;
        }
        let borrowed = std::mem::ManuallyDrop::new(Reply(element, PhantomData));
        borrowed.text().map(<[u8]>::to_vec)
    }
}

/// Runs a command with the module's own rights; `None` when the server won't.
pub fn call<'call>(ctx: Context<'call>, command: &CStr, args: &[&[u8]]) -> Option<Reply<'call>> {
    call_with(ctx, c"vE", command, args)
}

/// Runs a command with the rights of the current caller, and as its user.
pub(super) fn call_as_caller<'call>(
    ctx: Context<'call>,
    command: &CStr,
    args: &[&[u8]],
) -> Option<Reply<'call>> {
    call_with(ctx, c"vEC", command, args)
}

fn call_with<'call>(
    ctx: Context<'call>,
    format: &'static CStr,
    command: &CStr,
    args: &[&[u8]],
) -> Option<Reply<'call>> {
    let texts: Vec<Text> = args.iter().filter_map(|arg| Text::new(arg)).collect();
    if texts.len() != args.len() {
        return None;
    }
    let mut pointers: Vec<*mut raw::RedisModuleString> = texts.iter().map(Text::raw).collect();
    let function = api!(RedisModule_Call)?;
    // SAFETY: both formats take an array of strings and its length ("v"), and ask for errors as replies
    // ("E"); the strings outlive the call.
    let reply = unsafe {
        function(
            ctx.raw(),
            command.as_ptr(),
            format.as_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
        )
    };
    (!reply.is_null()).then_some(Reply(reply, PhantomData))
}
