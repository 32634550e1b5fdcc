//! The servers' protocol: words to bytes, bytes to values. No input or output here.

use std::fmt;

/// What a server answers. The types of RESP3 are folded into those of RESP2.
#[derive(Clone, PartialEq)]
pub enum Value {
    Nil,
    Int(i64),
    Text(Vec<u8>),
    Error(String),
    List(Vec<Value>),
}

impl Value {
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(n) => *n,
            Value::Text(t) => match String::from_utf8_lossy(t).parse() {
                Ok(n) => n,
                Err(_) => panic!("not a number: {self:?}"),
            },
            _ => panic!("not a number: {self:?}"),
        }
    }

    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Value::Text(t) => String::from_utf8_lossy(t).into_owned(),
            _ => panic!("not a text: {self:?}"),
        }
    }

    #[track_caller]
    pub fn error(&self) -> &str {
        match self {
            Value::Error(e) => e,
            _ => panic!("not an error: {self:?}"),
        }
    }

    #[track_caller]
    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(l) => l,
            _ => panic!("not a list: {self:?}"),
        }
    }

    /// Of a map, the value that has this name.
    #[track_caller]
    pub fn field(&self, name: &str) -> &Value {
        let pairs = self.list().chunks(2);
        let mut values = pairs.filter(|pair| pair[0] == Value::Text(name.into()));
        match values.next() {
            Some([_, value]) => value,
            _ => panic!("no {name} in {self:?}"),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => write!(f, "nil"),
            Value::Int(n) => write!(f, "{n}"),
            Value::Text(t) if t.len() > 400 => write!(f, "<{} bytes>", t.len()),
            Value::Text(t) => write!(f, "{:?}", String::from_utf8_lossy(t)),
            Value::Error(e) => write!(f, "error {e:?}"),
            Value::List(l) => f.debug_list().entries(l).finish(),
        }
    }
}

pub fn encode<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The first value in `bytes` and its length there, once it is complete.
pub fn decode(bytes: &[u8]) -> Option<(Value, usize)> {
    let end = bytes.windows(2).position(|w| w == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[1..end]).unwrap_or("");
    let number = || line.parse::<i64>().unwrap_or(0);
    let mut at = end + 2;
    let value = match bytes[0] {
        b':' => Value::Int(number()),
        b'+' | b',' | b'#' | b'(' => Value::Text(line.into()),
        b'-' => Value::Error(String::from_utf8_lossy(&bytes[1..end]).into_owned()),
        b'_' => Value::Nil,
        b'$' | b'=' if number() < 0 => Value::Nil,
        b'$' | b'=' => {
            let skip = if bytes[0] == b'=' { 4 } else { 0 }; // "txt:"
            let body = bytes.get(at..at + number() as usize)?;
            bytes.get(at + body.len() + 1)?;
            at += body.len() + 2;
            Value::Text(body[skip..].to_vec())
        }
        b'*' if number() < 0 => Value::Nil,
        kind @ (b'*' | b'~' | b'>' | b'%') => {
            let items = number() * if kind == b'%' { 2 } else { 1 };
            let mut list = Vec::new();
            for _ in 0..items {
                let (item, length) = decode(bytes.get(at..).filter(|b| !b.is_empty())?)?;
                list.push(item);
                at += length;
            }
            Value::List(list)
        }
        other => panic!("not the server's protocol: {:?}", other as char),
    };
    Some((value, at))
}
