//! Statements whose outcome is compared.

use postgres::Client;

/// The result of a query as text.
#[track_caller]
pub fn text(client: &mut Client, query: &str) -> Vec<String> {
    let messages = client.simple_query(query).unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let row = |message: &postgres::SimpleQueryMessage| match message {
        postgres::SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// Changes definitions on a node itself, as a superuser does who mends something by hand there.
#[track_caller]
pub fn define_on_node(client: &mut Client, sql: &str) {
    client.batch_execute("SET helios.migration_session = on").unwrap();
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    client.batch_execute("RESET helios.migration_session").unwrap();
}

/// The statement fails with this SQLSTATE, and a message with these words and a hint.
#[track_caller]
pub fn refused(client: &mut Client, sql: &str, code: &str, words: &str) {
    let error = client.simple_query(sql).map(|_| ()).expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    assert_eq!(error.code().code(), code, "{sql}: {error:?}");
    assert!(error.message().contains(words), "{sql}: {error:?}");
    assert!(error.hint().is_some(), "{sql}: no hint: {error:?}");
}
