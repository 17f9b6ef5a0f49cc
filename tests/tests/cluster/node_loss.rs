//! A node is killed with SIGKILL in the middle of an operation: the client gets a clean error, its session stays
//! usable, and work continues when the node is back.

use std::io::Write;

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

fn cluster_with_table(schema: &str) -> (Cluster, Client) {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {schema} DISTRIBUTED; CREATE TABLE {schema}.t (x int); \
             INSERT INTO {schema}.t SELECT generate_series(1, 1000)"
        ))
        .unwrap();
    (cluster, client)
}

/// Asserts that the error is a lost connection (class 08) or a shutdown (57P0x), and names
/// the node.
#[track_caller]
fn assert_clean(error: &postgres::Error) {
    let error = error.as_db_error().expect("the coordinator's backend is alive and responds");
    let code = error.code().code();
    assert!(code.starts_with("08") || code.starts_with("57P0"), "{error:?}");
    let text = format!("{error:?}");
    assert!(text.contains("node-1"), "the node is not named: {text}");
}

/// Asserts that the same session works again once the node is back.
#[track_caller]
fn assert_usable(cluster: &Cluster, client: &mut Client, schema: &str) {
    let one: i32 = client.query_one("SELECT 1", &[]).unwrap().get(0);
    assert_eq!(one, 1);
    cluster.start_node(1);
    let count: i64 =
        client.query_one(&format!("SELECT count(*) FROM {schema}.t"), &[]).unwrap().get(0);
    assert_eq!(count, 1000);
}

/// Waits until the node is running a statement that contains `text`.
fn wait_for_statement(cluster: &Cluster, text: &str) {
    wait_until(&format!("the node runs {text:?}"), BOUND, || {
        let sessions = cluster.node_sessions(1);
        let found = sessions.iter().any(|s| s.contains(" active: ") && s.contains(text));
        if found { Ok(()) } else { Err(format!("{sessions:?}")) }
    });
}

#[test]
fn node_killed_in_a_statement() {
    let (cluster, mut client) = cluster_with_table("lost");
    let error = std::thread::scope(|scope| {
        let running = scope
            .spawn(|| client.query("SELECT pg_sleep(60) FROM lost.t LIMIT 1", &[]).unwrap_err());
        wait_for_statement(&cluster, "pg_sleep");
        cluster.kill_node(1);
        running.join().unwrap()
    });
    assert_clean(&error);
    assert_usable(&cluster, &mut client, "lost");
}

#[test]
fn node_killed_in_a_copy() {
    let (cluster, mut client) = cluster_with_table("lost");
    let mut copy = client.copy_in("COPY lost.t FROM STDIN").unwrap();
    writeln!(copy, "1").unwrap();
    copy.flush().unwrap();
    wait_for_statement(&cluster, "COPY");
    cluster.kill_node(1);
    let sent = (0..100_000).try_for_each(|x| writeln!(copy, "{x}"));
    // The coordinator may report the error at any row, or at the end.
    let error = match sent {
        Ok(()) => copy.finish().unwrap_err(),
        Err(error) => {
            drop(copy);
            let inner = error.into_inner().expect("a connection error");
            *inner.downcast::<postgres::Error>().expect("a server error")
        }
    };
    assert_clean(&error);
    assert_usable(&cluster, &mut client, "lost");
}

#[test]
fn node_killed_in_a_transaction() {
    let (cluster, mut client) = cluster_with_table("lost");
    let mut transaction = client.transaction().unwrap();
    transaction.execute("INSERT INTO lost.t VALUES (0)", &[]).unwrap();
    cluster.kill_node(1);
    let error = transaction.execute("INSERT INTO lost.t VALUES (0)", &[]).unwrap_err();
    assert_clean(&error);
    transaction.rollback().unwrap();
    assert_usable(&cluster, &mut client, "lost");
}

#[test]
fn node_killed_between_statements() {
    let (cluster, mut client) = cluster_with_table("lost");
    cluster.kill_node(1);
    let error = client.query("SELECT * FROM lost.t", &[]).unwrap_err();
    assert_clean(&error);
    assert_usable(&cluster, &mut client, "lost");
}

#[test]
fn commit_after_the_node_died_does_not_claim_success() {
    let (cluster, mut client) = cluster_with_table("lost");
    let mut transaction = client.transaction().unwrap();
    transaction.execute("INSERT INTO lost.t VALUES (0)", &[]).unwrap();
    cluster.kill_node(1);
    assert_clean(&transaction.commit().unwrap_err());
    assert_usable(&cluster, &mut client, "lost");
}
