//! Lines in the server's log.

use super::text::c_string;
use super::{api, Context};
use std::ffi::CStr;

/// Levels of the server's log.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    Verbose,
    Notice,
    Warning,
}

/// Writes a line to the server's log, which takes its message for a printf format: hence `%s`.
pub fn log(ctx: Option<Context>, level: Level, line: &str) {
    let level: &CStr = match level {
        Level::Verbose => c"verbose",
        Level::Notice => c"notice",
        Level::Warning => c"warning",
    };
    let clean: String = line
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    let text = c_string(&clean);
    let ctx = ctx.map_or(std::ptr::null_mut(), Context::raw);
    // SAFETY: the format takes one C string, which outlives the call; the context may be null.
    api!(RedisModule_Log).map(|call| unsafe { call(ctx, level.as_ptr(), c"%s".as_ptr(), text.as_ptr()) });
}
