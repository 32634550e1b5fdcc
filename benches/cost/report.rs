//! Report: the rows that the experiments give, as one table.

use std::fmt::Write;

#[derive(Clone, Debug)]
pub struct Row {
    pub what: String,
    pub server: &'static str,
    pub without: String,
    pub with: String,
    pub target: String,
    /// `None` where the noise is too great to tell.
    pub reached: Option<bool>,
}

#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn add(&mut self, row: Row) {
        println!("{}", line(&row));
        self.rows.push(row);
    }

    pub fn table(&self) -> String {
        let mut text = String::from(
            "| what | server | without connage | with connage | to reach | reached |\n|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let _ = writeln!(text, "{}", line(row));
        }
        text
    }

    pub fn untold(&self) -> usize {
        self.rows.iter().filter(|row| row.reached.is_none()).count()
    }

    /// What was to be reached and was not.
    pub fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.reached == Some(false)).count()
    }
}

fn line(row: &Row) -> String {
    let reached = match row.reached {
        None => "can't tell",
        Some(true) => "yes",
        Some(false) => "**no**",
    };
    format!(
        "| {} | {} | {} | {} | {} | {reached} |",
        row.what, row.server, row.without, row.with, row.target
    )
}
