//! A shared-memory lock and an error raised while it is held.

use helios_tests::Cluster;
use postgres::Client;
use std::sync::mpsc;
use std::time::Duration;

/// Creates a server with a function that raises an error while holding a lock, and a client of a database that has it.
fn server() -> (Cluster, Client) {
    let cluster = Cluster::with_failpoints(0, &[]);
    let mut client = cluster.coordinator().connect("postgres").unwrap();
    let declare = "CREATE FUNCTION failpoint_lock(boolean) RETURNS bigint LANGUAGE c \
                   AS 'helios', 'helios_failpoint_lock_wrapper'";
    client.batch_execute(declare).unwrap();
    (cluster, client)
}

/// Another session can acquire the lock, and both sessions can be cancelled.
fn nothing_is_left(cluster: &Cluster, mut client: Client) {
    let mut other = cluster.coordinator().connect("postgres").unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let read = other.query_one("SELECT failpoint_hits('commit.before')", &[]);
        let _ = tell.send(read.map(|row| row.get::<_, i64>(0)).map_err(|error| error.to_string()));
    });
    let read = told.recv_timeout(Duration::from_secs(20));
    assert_eq!(read, Ok(Ok(0)), "the lock is free");
    client.batch_execute("SET statement_timeout = 500").unwrap();
    let slept = client.batch_execute("SELECT pg_sleep(30)").unwrap_err();
    assert_eq!(slept.code().unwrap().code(), "57014", "{slept}");
}

#[test]
fn an_error_that_is_caught_under_a_lock_releases_it() {
    let (cluster, mut client) = server();
    let caught: i64 = client.query_one("SELECT failpoint_lock(false)", &[]).unwrap().get(0);
    assert_eq!(caught, -1, "the error was raised and caught");
    nothing_is_left(&cluster, client);
}

#[test]
fn a_lock_that_was_released_by_a_rollback_gives_no_access() {
    let (cluster, mut client) = server();
    let refused = client.query_one("SELECT failpoint_lock(true)", &[]).unwrap_err();
    let message = refused.as_db_error().unwrap().message().to_owned();
    assert!(message.contains("was released while its guard was in use"), "{message}");
    nothing_is_left(&cluster, client);
}
