//! Updates from one version of the catalogs to the next: an update has the same result as a new installation; until it
//! has run, catalogs of another version are not misinterpreted; and if interrupted, it has happened completely or not
//! at all.

mod from_release;
mod other_version;
mod same_catalogs;

use helios_tests::Cluster;
use postgres::Client;
use postgres::error::SqlState;

/// The previous version.
const BEFORE: &str = "0.1.0";
/// The current version.
const NOW: &str = env!("CARGO_PKG_VERSION");

/// Connects to a new database on the coordinator's server.
fn new_database(cluster: &Cluster, name: &str) -> Client {
    let mut client = cluster.coordinator().connect("postgres").unwrap();
    client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).unwrap();
    cluster.coordinator().connect(name).unwrap()
}

/// Creates a database with the catalogs of the previous version.
fn database_before(cluster: &Cluster, name: &str) -> Client {
    let mut client = new_database(cluster, name);
    client.batch_execute(&format!("CREATE EXTENSION helios VERSION '{BEFORE}'")).unwrap();
    client
}

/// The version of the catalogs.
fn installed(client: &mut Client) -> String {
    let query = "SELECT extversion FROM pg_extension WHERE extname = 'helios'";
    client.query_one(query, &[]).unwrap().get(0)
}

/// Asserts that the statement is refused because of catalogs of the previous version, with a hint.
#[track_caller]
fn refused_before(client: &mut Client, sql: &str) {
    let error = client.simple_query(sql).map(|_| ()).expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    assert_eq!(*error.code(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{sql}: {error:?}");
    let message = format!(
        "the installed version of extension \"helios\" is {BEFORE}, but the loaded library works with {NOW}"
    );
    assert_eq!(error.message(), message, "{sql}: {error:?}");
    assert_eq!(error.hint(), Some("Run ALTER EXTENSION helios UPDATE."), "{sql}: {error:?}");
}
