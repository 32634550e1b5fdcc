//! INFO, asked through the API that no `rename-command` takes away.

use super::{api, Context};
use redis_module::raw;
use std::ffi::CStr;
use std::os::raw::c_int;

/// A section of INFO.
pub struct ServerInfo(*mut raw::RedisModuleServerInfoData);

impl Drop for ServerInfo {
    fn drop(&mut self) {
        // SAFETY: made by `section`, and freed once; without a context it is under no automatic memory.
        api!(RedisModule_FreeServerInfo).map(|call| unsafe { call(std::ptr::null_mut(), self.0) });
    }
}

impl ServerInfo {
    pub fn section(ctx: Context, name: &CStr) -> Option<ServerInfo> {
        // SAFETY: a constant C string. No automatic memory is on, so that the result is ours.
        let data = api!(RedisModule_GetServerInfo).map(|call| unsafe { call(ctx.raw(), name.as_ptr()) })?;
        (!data.is_null()).then(|| ServerInfo(data))
    }

    /// A field that is a number.
    pub fn number(&self, field: &CStr) -> Option<u64> {
        let mut failed: c_int = 0;
        // SAFETY: what `section` made, a C string, and a place for the error.
        let value = api!(RedisModule_ServerInfoGetFieldUnsigned)
            .map(|call| unsafe { call(self.0, field.as_ptr(), &raw mut failed) })?;
        (failed == 0).then_some(value)
    }

    /// A field as it stands there.
    pub fn text(&self, field: &CStr) -> Option<&str> {
        // SAFETY: as above; the server lends the text for as long as the section lives.
        let start =
            api!(RedisModule_ServerInfoGetFieldC).map(|call| unsafe { call(self.0, field.as_ptr()) })?;
        if start.is_null() {
            return None;
        }
        // SAFETY: a C string of the server's, borrowed from `self`.
        let text = unsafe { CStr::from_ptr(start) };
        text.to_str().ok()
    }
}
