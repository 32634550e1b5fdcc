//! The maps that CONNAGE.LIST, LOG and SELF answer, by name, and a few words that many
//! scenarios say. No scenario here.

use crate::support::conn::Conn;
use crate::support::resp::Value;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// One map of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(BTreeMap<String, Value>);

impl Row {
    #[track_caller]
    pub fn of(value: &Value) -> Row {
        let pairs = value.list().chunks(2);
        Row(pairs.map(|pair| (pair[0].text(), pair[1].clone())).collect())
    }

    #[track_caller]
    fn get(&self, name: &str) -> &Value {
        match self.0.get(name) {
            Some(value) => value,
            None => panic!("no {name} in {self:?}"),
        }
    }

    #[track_caller]
    pub fn int(&self, name: &str) -> i64 {
        match self.get(name) {
            Value::Int(n) => *n,
            other => panic!("{name} is no integer but {other:?}"),
        }
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        self.get(name).text()
    }
}

/// The names of a map's fields, in their order.
#[track_caller]
pub fn names(map: &Value) -> Vec<String> {
    map.list().chunks(2).map(|pair| pair[0].text()).collect()
}

/// Maps that a command answers.
#[track_caller]
pub fn rows(conn: &mut Conn, line: &str) -> Vec<Row> {
    conn.ok(line).list().iter().map(Row::of).collect()
}

/// The ids that CONNAGE.LIST picks, in its order.
#[track_caller]
pub fn listed(conn: &mut Conn, filter: &str) -> Vec<i64> {
    let rows = rows(conn, &format!("CONNAGE.LIST {filter}"));
    rows.iter().map(|row| row.int("id")).collect()
}

/// The one row of a connection.
#[track_caller]
pub fn row(conn: &mut Conn, id: i64) -> Row {
    let mut rows = rows(conn, &format!("CONNAGE.LIST ID {id}"));
    assert_eq!(rows.len(), 1, "rows of {id}");
    rows.remove(0)
}

/// The wall clock, which `time-ms` goes by.
pub fn wall_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_millis() as i64
}

/// All that CONNAGE.LOG keeps, newest first.
#[track_caller]
pub fn log(conn: &mut Conn) -> Vec<Row> {
    rows(conn, "CONNAGE.LOG GET -1")
}

/// Sets one of the module's settings to a value that may have blanks in it.
#[track_caller]
pub fn set(conn: &mut Conn, name: &str, value: &str) {
    let reply = conn.call(&["CONNAGE.CONFIG", "SET", name, value]);
    assert!(!reply.is_error(), "{name} {value}: {reply:?}");
}

/// Sets rules as the ones that hold.
#[track_caller]
pub fn set_rules(conn: &mut Conn, rules: &str) {
    set(conn, "rules", rules);
}
