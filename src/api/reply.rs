//! Replies to the client that runs the current command.

use super::text::c_string;
use super::{api, Context};
use redis_module::raw;
use std::os::raw::{c_int, c_long, c_longlong};

impl Context<'_> {
    pub fn reply_integer(self, value: i64) {
        // SAFETY: queues a reply for the context's client, here and below.
        api!(RedisModule_ReplyWithLongLong).map(|call| unsafe { call(self.raw(), value as c_longlong) });
    }

    pub fn reply_count(self, value: u64) {
        self.reply_integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    pub fn reply_bulk(self, bytes: &[u8]) {
        // SAFETY: pointer and length are of one slice, and the server copies it.
        api!(RedisModule_ReplyWithStringBuffer)
            .map(|call| unsafe { call(self.raw(), bytes.as_ptr().cast(), bytes.len()) });
    }

    pub fn reply_ok(self) {
        // SAFETY: a constant C string.
        api!(RedisModule_ReplyWithSimpleString).map(|call| unsafe { call(self.raw(), c"OK".as_ptr()) });
    }

    pub fn reply_array(self, len: usize) {
        // SAFETY: `len` elements follow.
        api!(RedisModule_ReplyWithArray).map(|call| unsafe { call(self.raw(), len as c_long) });
    }

    /// A map in RESP3, a flat array of twice as many in RESP2.
    pub fn reply_map(self, len: usize) {
        // SAFETY: `len` pairs follow.
        api!(RedisModule_ReplyWithMap).map(|call| unsafe { call(self.raw(), len as c_long) });
    }

    /// `text` with its code in front; whatever in it would break the protocol is replaced.
    pub fn reply_error(self, text: &str) {
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line = c_string(&line);
        // SAFETY: a C string that the server copies.
        api!(RedisModule_ReplyWithError).map(|call| unsafe { call(self.raw(), line.as_ptr()) });
    }

    pub fn reply_wrong_arity(self) {
        // SAFETY: as above.
        api!(RedisModule_WrongArity).map(|call| unsafe { call(self.raw()) });
    }
}

/// One section of INFO, while the server asks for it.
pub struct InfoSection(*mut raw::RedisModuleInfoCtx);

impl InfoSection {
    pub fn field(&self, name: &str, value: i64) {
        let name = c_string(name);
        // SAFETY: the context is valid during the callback, and the server copies the name.
        api!(RedisModule_InfoAddFieldLongLong)
            .map(|call| unsafe { call(self.0, name.as_ptr(), value as c_longlong) });
    }
}

/// Who tells INFO.
pub trait Info {
    fn tell(section: &InfoSection);
}

pub fn register_info<I: Info>(ctx: Context) -> bool {
    // SAFETY: a callback that lives as long as the library.
    api!(RedisModule_RegisterInfoFunc).map(|call| unsafe { call(ctx.raw(), Some(on_info::<I>)) })
        == Some(super::OK)
}

unsafe extern "C" fn on_info<I: Info>(ctx: *mut raw::RedisModuleInfoCtx, for_crash_report: c_int) {
    // The crash handler runs this too, on a broken heap: touch nothing.
    if for_crash_report != 0 {
        return;
    }
    let work = || {
        // SAFETY: valid during this callback; without a name the section is called as the module is.
        let wanted = api!(RedisModule_InfoAddSection).map(|call| unsafe { call(ctx, std::ptr::null()) });
        if wanted == Some(super::OK) {
            I::tell(&InfoSection(ctx));
        }
    };
    super::guard::enter("info", work);
}
