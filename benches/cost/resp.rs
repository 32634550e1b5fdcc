//! Resp: one blocking connection that asks and reads answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// No answer takes longer, but for a fault.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub enum Reply {
    Text(Vec<u8>),
    Error(String),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
}

impl Reply {
    pub fn text(&self) -> String {
        match self {
            Reply::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Reply::Error(text) => text.clone(),
            Reply::Number(number) => number.to_string(),
            Reply::List(items) => items.iter().map(Reply::text).collect::<Vec<_>>().join(" "),
            Reply::Nothing => String::new(),
        }
    }
}

#[derive(Debug)]
pub struct Asker {
    reader: BufReader<UnixStream>,
}

pub fn command(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    out
}

impl Asker {
    pub fn connect(socket: &Path) -> std::io::Result<Asker> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Asker {
            reader: BufReader::with_capacity(1 << 20, stream),
        })
    }

    /// The same connection once more, to write from another thread.
    pub fn another(&self) -> Asker {
        let stream = self.reader.get_ref().try_clone().expect("a duplicate");
        Asker {
            reader: BufReader::new(stream),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("sent");
    }

    /// One command in plain words; its answer, errors included.
    pub fn try_ask(&mut self, words: &[&str]) -> std::io::Result<Reply> {
        self.reader.get_mut().write_all(&command(words))?;
        self.read()
    }

    /// One command, blanks between its words; an error ends the run.
    #[track_caller]
    pub fn ask(&mut self, words: &str) -> Reply {
        let words: Vec<&str> = words.split(' ').collect();
        match self.try_ask(&words) {
            Ok(Reply::Error(error)) => panic!("{words:?}: {error}"),
            Ok(reply) => reply,
            Err(error) => panic!("{words:?}: {error}"),
        }
    }

    /// A number of INFO.
    #[track_caller]
    pub fn info(&mut self, section: &str, field: &str) -> u64 {
        let text = self.ask(&format!("INFO {section}")).text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = value.unwrap_or_else(|| panic!("INFO {section} has no {field}"));
        value.trim().parse().expect("a number")
    }

    pub fn read(&mut self) -> std::io::Result<Reply> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_string();
        let Some(rest) = text.get(1..) else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        let number = || rest.parse::<i64>().map_err(std::io::Error::other);
        Ok(match text.as_bytes()[0] {
            b'+' => Reply::Text(rest.into()),
            b'-' => Reply::Error(rest.into()),
            b':' => Reply::Number(number()?),
            b'$' => {
                let Ok(length) = usize::try_from(number()?) else {
                    return Ok(Reply::Nothing);
                };
                let mut bytes = vec![0; length + 2];
                self.reader.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Reply::Text(bytes)
            }
            b'*' => {
                let items = (0..number()?.max(0)).map(|_| self.read());
                Reply::List(items.collect::<Result<_, _>>()?)
            }
            _ => return Err(std::io::Error::other(text)),
        })
    }
}
