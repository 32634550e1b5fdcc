//! The tests' lists of servers, which macros need as words, and the table that all else reads.

const TABLE: &str = include_str!("../../scripts/servers.txt");
const MATRIX: &str = include_str!("support/matrix.rs");

/// The names in the table that have this word, all of them where there is none.
fn in_table(word: &str) -> Vec<&str> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let wanted = rows.filter(|row| !row.is_empty() && (word.is_empty() || row[1..].contains(&word)));
    wanted.map(|row| row[0]).collect()
}

#[test]
fn are_those_of_the_table() {
    for (class, word) in [("all", ""), ("five", "five"), ("tls", "tls")] {
        let (_, list) = MATRIX
            .split_once(&format!("(@ {class} $how $scenario,"))
            .expect("a list");
        let (list, _) = list.split_once(");").expect("its end");
        let words: Vec<&str> = list
            .split([' ', ',', '\n', '"'])
            .filter(|w| !w.is_empty())
            .collect();
        let names: Vec<&str> = words.iter().skip(1).step_by(2).copied().collect();
        assert_eq!(names, in_table(word), "{class}");
        for pair in words.chunks(2) {
            assert_eq!(pair[0], pair[1].replace(['-', '.'], "_"), "{class}");
        }
    }
}
