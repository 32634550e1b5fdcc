//! Strings of the server's.

use super::{api, Context};
use redis_module::raw;
use std::ffi::CString;
use std::os::raw::c_int;
use std::slice;

/// A string of the server's that we own.
pub struct Text(*mut raw::RedisModuleString);

impl Text {
    /// `None` where the server can't make one.
    pub fn new(bytes: &[u8]) -> Option<Text> {
        // SAFETY: pointer and length are of one slice, and the server copies it. Without a context
        // the string is not put under automatic memory management: it is ours.
        let made = api!(RedisModule_CreateString)
            .map(|call| unsafe { call(std::ptr::null_mut(), bytes.as_ptr().cast(), bytes.len()) })?;
        (!made.is_null()).then(|| Text(made))
    }

    /// Takes over a string that the server made for us.
    ///
    /// # Safety
    /// The string is ours, and nobody else frees it; or the pointer is null.
    pub(super) unsafe fn take(made: *mut raw::RedisModuleString) -> Option<Text> {
        (!made.is_null()).then(|| Text(made))
    }

    pub(super) fn raw(&self) -> *mut raw::RedisModuleString {
        self.0
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: it is ours, and lives as long as `self`.
        unsafe { bytes_of(self.0) }
    }

    /// Hands it over to the server, which frees it.
    pub(super) fn into_raw(self) -> *mut raw::RedisModuleString {
        let made = self.0;
        std::mem::forget(self);
        made
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: it is ours, and freed once.
        api!(RedisModule_FreeString).map(|call| unsafe { call(std::ptr::null_mut(), self.0) });
    }
}

/// The bytes of a string.
///
/// # Safety
/// The string is a valid one of the server's for as long as `'a`, or the pointer is null.
pub(super) unsafe fn bytes_of<'a>(string: *const raw::RedisModuleString) -> &'a [u8] {
    if string.is_null() {
        return &[];
    }
    let mut len = 0;
    // SAFETY: a valid string of the server's, which outlives the call that lends it.
    match api!(RedisModule_StringPtrLen).map(|call| unsafe { call(string, &raw mut len) }) {
        // SAFETY: the server vouches for pointer and length.
        Some(start) if !start.is_null() => unsafe { slice::from_raw_parts(start.cast(), len) },
        _ => &[],
    }
}

/// The words of a command, or of `loadmodule`.
///
/// # Safety
/// `argv` is an array of `argc` valid strings of the server's for as long as `'a`, or null.
pub(super) unsafe fn words<'a>(argv: *mut *mut raw::RedisModuleString, argc: c_int) -> Vec<&'a [u8]> {
    if argv.is_null() {
        return Vec::new();
    }
    // SAFETY: as above.
    let words = unsafe { slice::from_raw_parts(argv, usize::try_from(argc).unwrap_or(0)) };
    // SAFETY: as above.
    words.iter().map(|word| unsafe { bytes_of(*word) }).collect()
}

/// For APIs that take C strings: what comes after a NUL is cut.
pub fn c_string(text: &str) -> CString {
    let head = text.split('\0').next().unwrap_or_default();
    CString::new(head).unwrap_or_default()
}

/// User name of a connection; `None` when it is gone.
pub fn user_of(ctx: Context, id: u64) -> Option<Text> {
    // SAFETY: the id is looked up by the server.
    let name = api!(RedisModule_GetClientUserNameById).map(|get| unsafe { get(ctx.raw(), id) })?;
    // SAFETY: made for us, as no automatic memory is on.
    unsafe { Text::take(name) }
}

/// Name that a connection gave itself; `None` when it has none or is gone.
pub fn name_of(ctx: Context, id: u64) -> Option<Text> {
    // SAFETY: the id is looked up by the server.
    let name = api!(RedisModule_GetClientNameById).map(|get| unsafe { get(ctx.raw(), id) })?;
    // SAFETY: made for us, as no automatic memory is on.
    unsafe { Text::take(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_c_string_ends_at_the_first_nul_and_a_string_that_is_not_there_is_empty() {
        for (text, want) in [
            ("", ""),
            ("word", "word"),
            ("a\0b", "a"),
            ("\0", ""),
            ("é%n", "é%n"),
        ] {
            assert_eq!(c_string(text).to_str(), Ok(want), "{text:?}");
        }
        // SAFETY: null is allowed.
        assert_eq!(unsafe { bytes_of(std::ptr::null()) }, b"");
        // SAFETY: null is allowed, whatever the count.
        assert!(unsafe { words(std::ptr::null_mut(), 3) }.is_empty());
        // A server that lacks the API.
        assert!(Text::new(b"word").is_none());
    }
}
