//! Output of a block, and its comparison with what the page shows.

use regex::Regex;

/// Values that differ each time, by name, with their regular expression; anything else in `varies` is a regular expression.
const NAMED: [(&str, &str, &str); 5] = [
    ("time", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?([+-]\d\d)?", "…"),
    ("interval", r"(\d+ days? )?-?\d\d:\d\d:\d\d(\.\d+)?", "…"),
    ("number", r"\d+(\.\d+)?", "…"),
    ("version", r"\d+\.\d+(\.\d+)?", "…"),
    // The number of progress notices of a migration depends on its speed.
    ("progress", r"(?m)^NOTICE:  migration .*\n", ""),
];

/// The output of `psql` or a command without noise: trailing spaces, and results of
/// functions that return void.
pub fn readable(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let mut text = lines.join("\n");
    text.push('\n');
    let nothing = Regex::new(r"(?m)^ \S+\n-+\n\n\(1 row\)\n+").unwrap();
    nothing.replace_all(&text, "").trim_matches('\n').to_owned()
}

/// Whether a page shows this output.
pub fn same(shown: &str, printed: &str, varies: &[String]) -> bool {
    normal(shown, varies) == normal(printed, varies)
}

/// Replaces what varies in a text. Columns are as wide as their values, so runs of spaces and dashes are collapsed
/// where something varies.
fn normal(text: &str, varies: &[String]) -> String {
    let mut text = text.trim_end().to_owned();
    for pattern in varies {
        let named = NAMED.iter().find(|(name, ..)| name == pattern);
        let (expression, instead) =
            named.map_or((pattern.trim_matches('/'), "…"), |named| (named.1, named.2));
        text = Regex::new(expression).unwrap().replace_all(&text, instead).into_owned();
    }
    if !varies.is_empty() {
        text = Regex::new(" +").unwrap().replace_all(&text, " ").into_owned();
        text = Regex::new("-{2,}").unwrap().replace_all(&text, "-").into_owned();
        text = Regex::new(r"(?m) +$|^ +").unwrap().replace_all(&text, "").into_owned();
    }
    text
}

#[test]
fn empty_results_are_not_shown() {
    let printed = " helios_create_reference_table \n-----\n \n(1 row)\n\n a | b \n---+---\n 1 | \n(1 row)\n\n";
    assert_eq!(readable(printed), " a | b\n---+---\n 1 |\n(1 row)");
}

#[test]
fn only_what_varies_may_differ() {
    let varies = ["time".to_owned(), "/[0-9]+ kB/".to_owned()];
    let shown =
        " at                  | size\n---------------------+------\n 2026-01-02 03:04:05 | 8 kB";
    let same_otherwise = " at | size\n--+--\n 2027-01-02 03:04:05.67+00 | 1600 kB";
    assert!(same(shown, same_otherwise, &varies));
    assert!(!same(shown, same_otherwise, &[]));
    assert!(!same(shown, &same_otherwise.replace("kB", "MB"), &varies));
    assert!(same("a\n", "a", &[]));
    assert!(!same("a b", "a  b", &[]));
}
