//! The design's invariants, each under its own name, and invalid input to the functions that
//! change a cluster. Invariant 9, that nothing waits forever, is tested with the faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod adversary;
mod bad_input;
mod directory;
mod end_of_cluster;
mod functions;
mod names;
mod node_definitions;
mod owned_database;
mod restored;
mod rights;
mod settings_reach;
mod shells;
mod temporary;

use postgres::{Client, SimpleQueryMessage};

/// The first column of the first row of the last statement that has rows, as text.
fn value(client: &mut Client, sql: &str) -> Result<Option<String>, postgres::Error> {
    let messages = client.simple_query(sql)?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    Ok(rows.last())
}

/// SQLSTATE and all texts of a server error.
fn described(error: &postgres::Error) -> (String, String) {
    let db = error.as_db_error().unwrap_or_else(|| panic!("not the server's error: {error}"));
    let parts = [Some(db.message()), db.detail(), db.hint()];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(" / ");
    (db.code().code().to_owned(), text)
}

/// Asserts that the statement fails with this SQLSTATE, and its texts contain all these words.
#[track_caller]
fn refused(client: &mut Client, sql: &str, code: &str, words: &[&str]) {
    let error = match client.simple_query(sql) {
        Err(error) => described(&error),
        Ok(_) => panic!("{sql}: no error"),
    };
    assert_eq!(error.0, code, "{sql}: {}", error.1);
    for word in words {
        assert!(error.1.contains(word), "{sql}: {word:?} is not in: {}", error.1);
    }
    client.simple_query("ROLLBACK").unwrap();
}
