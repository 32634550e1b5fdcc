//! Rows of connections, as LIST and SELF reply them. One table of their columns.

use crate::api::interned::Interned;
use crate::api::Context;
use connage_engine::client::Client;
use connage_engine::reaper::Row;
use connage_engine::text::word::cut;

/// How a column's value is got.
enum Column {
    Number(fn(&Client, &Row) -> u64),
    /// -1 where there is none.
    Signed(fn(&Client, &Row) -> i64),
    /// Cut to what [`cut`] leaves of it.
    Text(for<'a> fn(&Client<'a>, &'a Row) -> &'a [u8]),
}

static COLUMNS: [(&str, Column); COUNT] = [
    ("id", Column::Number(|client, _| client.id.0)),
    ("addr", Column::Text(|client, _| client.addr)),
    ("laddr", Column::Text(|client, _| client.laddr)),
    ("user", Column::Text(|client, _| client.user)),
    ("name", Column::Text(|client, _| client.name)),
    ("lib-name", Column::Text(|client, _| client.lib_name)),
    (
        "type",
        Column::Text(|client, _| client.client_type().name().as_bytes()),
    ),
    ("flags", Column::Text(|client, _| client.flags)),
    ("age-ms", Column::Number(|_, row| row.age.0)),
    (
        "idle-ms",
        Column::Number(|client, _| client.idle_s.saturating_mul(1_000)),
    ),
    ("limit-ms", Column::Number(|_, row| row.limit.0)),
    ("expires-in-ms", Column::Signed(|_, row| row.expires_in_ms)),
    (
        "rule",
        Column::Text(|_, row| row.rule.as_deref().unwrap_or_default().as_bytes()),
    ),
    ("state", Column::Text(|_, row| row.state.as_bytes())),
];

/// How many columns there are.
const COUNT: usize = 14;

/// From so many rows on it saves time to have the names of columns printed once.
const WORTH_PRINTING: usize = 64;

/// Rows are gathered before the reply begins, since its length comes first. Their texts lie in one buffer: with
/// one of its own for each, ten thousand rows take half as long again.
#[derive(Default)]
pub struct Rows {
    texts: Vec<u8>,
    rows: Vec<Values>,
}

struct Values {
    id: u64,
    /// Where its texts begin in the buffer.
    start: usize,
    /// For each column its number, or where its text ends in the buffer; each begins where the one before ends.
    values: [i64; COUNT],
}

impl Rows {
    /// Of one connection.
    pub fn of(client: &Client, row: &Row) -> Rows {
        let mut rows = Rows::default();
        rows.add(client, row);
        rows
    }

    pub fn add(&mut self, client: &Client, row: &Row) {
        let start = self.texts.len();
        let mut values = [0; COUNT];
        for (place, (_, column)) in values.iter_mut().zip(&COLUMNS) {
            *place = match column {
                Column::Number(value) => i64::try_from(value(client, row)).unwrap_or(i64::MAX),
                Column::Signed(value) => value(client, row),
                Column::Text(text) => {
                    let [head, mark] = cut(text(client, row));
                    self.texts.extend_from_slice(head);
                    self.texts.extend_from_slice(mark);
                    self.texts.len() as i64
                }
            };
        }
        self.rows.push(Values {
            id: client.id.0,
            start,
            values,
        });
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn sort_oldest_first(&mut self) {
        self.rows.sort_unstable_by_key(|row| row.id);
    }

    /// Replies a map for each row.
    pub fn reply(&self, ctx: Context) {
        let names = COLUMNS.each_ref().map(|(name, _)| *name);
        let names = if self.rows.len() < WORTH_PRINTING {
            Interned::plain(names)
        } else {
            Interned::print(ctx, names)
        };
        for row in &self.rows {
            ctx.reply_map(COLUMNS.len());
            let mut start = row.start;
            for (at, ((_, column), value)) in COLUMNS.iter().zip(row.values).enumerate() {
                names.reply(ctx, at);
                match column {
                    Column::Number(_) | Column::Signed(_) => ctx.reply_integer(value),
                    Column::Text(_) => {
                        let end = usize::try_from(value).unwrap_or(start);
                        ctx.reply_bulk(self.texts.get(start..end).unwrap_or_default());
                        start = end;
                    }
                }
            }
        }
    }
}
