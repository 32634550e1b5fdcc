//! Interned: strings that a reply repeats, printed by the server once: to send one again costs it a single copy
//! where a text costs three.

use super::call::{call, Reply};
use super::{api, Context, OK};

/// `N` strings as the server prints them.
pub struct Interned<'call, const N: usize> {
    texts: [&'static str; N],
    /// The answer that holds them, if there is one.
    printed: Option<Reply<'call>>,
}

impl<'call, const N: usize> Interned<'call, N> {
    /// To be sent as texts, for a reply too short to repay the printing.
    pub fn plain(texts: [&'static str; N]) -> Self {
        Interned { texts, printed: None }
    }

    /// Has the server print `texts`: as the keys of a command that takes any, which nothing runs.
    pub fn print(ctx: Context<'call>, texts: [&'static str; N]) -> Self {
        let mut args: Vec<&[u8]> = vec![b"GETKEYS", b"DEL"];
        args.extend(texts.iter().map(|text| text.as_bytes()));
        let printed = call(ctx, c"COMMAND", &args).filter(|reply| reply.error().is_none());
        Interned { texts, printed }
    }

    /// Sends string `index`.
    pub fn reply(&self, ctx: Context, index: usize) {
        if !self.reply_printed(ctx, index).unwrap_or(false) {
            ctx.reply_bulk(self.texts.get(index).copied().unwrap_or_default().as_bytes());
        }
    }

    fn reply_printed(&self, ctx: Context, index: usize) -> Option<bool> {
        let printed = self.printed.as_ref()?;
        // SAFETY: a valid reply; out of range gives null.
        let string =
            api!(RedisModule_CallReplyArrayElement).map(|call| unsafe { call(printed.raw(), index) })?;
        if string.is_null() {
            return None;
        }
        // SAFETY: an element of a reply that is alive.
        Some(api!(RedisModule_ReplyWithCallReply).map(|call| unsafe { call(ctx.raw(), string) })? == OK)
    }
}
