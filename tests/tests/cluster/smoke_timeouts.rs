//! A node's timeouts apply to its own clients. For sessions through the coordinator, the coordinator's timeouts apply.

use std::time::Duration;

use helios_tests::{BOUND, Cluster, text, wait_until};
use postgres::Client;

const TIMEOUTS: [&str; 3] =
    ["statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout"];

/// Sets timeouts of 100 ms on the node's server; returns once they are in effect for its clients.
fn make_impatient(cluster: &Cluster) {
    let mut node = cluster.connect_to_node(1);
    let mut timeouts = TIMEOUTS.to_vec();
    if helios_tests::pg().major >= 17 {
        timeouts.push("transaction_timeout");
    }
    let patient: Vec<_> = timeouts.iter().map(|timeout| format!("SET {timeout} = 0")).collect();
    node.batch_execute(&patient.join("; ")).unwrap();
    for timeout in timeouts {
        node.batch_execute(&format!("ALTER SYSTEM SET {timeout} = '100ms'")).unwrap();
    }
    node.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the node's timeouts apply to its own clients", BOUND, || {
        let mut other = cluster.connect_to_node(1);
        std::thread::sleep(Duration::from_millis(300));
        if other.batch_execute("SELECT 1").is_err() { Ok(()) } else { Err("not yet".into()) }
    });
}

/// Runs statements that each of the timeouts would abort, all in one session of the node.
fn take_time(client: &mut Client) {
    let process = "SELECT s.process()";
    let before = text(client, process);
    for statement in [
        "SELECT pg_sleep(0.4) FROM s.t LIMIT 1",
        // These run here while the session on the node is idle, outside of a transaction and in one.
        "SELECT pg_sleep(0.4)",
        "BEGIN; UPDATE s.t SET x = x",
        "SELECT pg_sleep(0.4)",
        "UPDATE s.t SET x = x; COMMIT",
    ] {
        client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    assert_eq!(text(client, process), before, "the node's session is still the same");
}

#[test]
fn timeouts_of_a_node_do_not_end_what_comes_from_the_coordinator() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA s DISTRIBUTED; CREATE TABLE s.t (x int); INSERT INTO s.t VALUES (1); \
             CREATE FUNCTION s.process() RETURNS int LANGUAGE sql STABLE AS 'SELECT pg_backend_pid()'",
        )
        .unwrap();
    make_impatient(&cluster);
    let mut client = cluster.connect();
    take_time(&mut client);
    // The settings of the node's session are reset.
    client.batch_execute("DISCARD ALL").unwrap();
    take_time(&mut client);
    client.batch_execute("SET statement_timeout = '200ms'").unwrap();
    let error = client.batch_execute("SELECT pg_sleep(600) FROM s.t").unwrap_err();
    assert_eq!(
        error.code().unwrap().code(),
        "57014",
        "the client's own timeout applies: {error:?}"
    );
}
