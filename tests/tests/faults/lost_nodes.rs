//! Nodes that are down, hang, or come back.

use std::time::{Duration, Instant};

use helios_tests::{BOUND, Cluster, Event, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use testkit::server::Shutdown;

use crate::{assert_code, assert_usable, cluster_with_table, error, wait_for_statement, wire};

/// Asserts class 08 (connection lost or refused) or 57P0x (shutting down), naming the node.
#[track_caller]
fn assert_node_lost(events: &[Event]) {
    let error = error(events);
    let code = error.field('C').unwrap();
    assert!(code.starts_with("08") || code.starts_with("57P0"), "{error:?}");
    assert!(format!("{error:?}").contains("node-1"), "the node is not named: {error:?}");
}

#[test]
fn node_that_is_down_is_named_at_once() {
    let (cluster, _client) = cluster_with_table("n");
    let mut fresh = wire(&cluster);
    cluster.node(1).stop(Shutdown::Fast).unwrap();
    let mut shortest = Duration::MAX;
    for sql in [
        "SELECT * FROM n.t",
        "INSERT INTO n.t VALUES (0)",
        "COPY n.t TO STDOUT",
        "COPY n.t FROM STDIN",
        "CREATE TABLE n.more (x int)",
        "BEGIN; SELECT * FROM n.t",
        "DO $$ BEGIN PERFORM * FROM n.t; END $$",
    ] {
        let start = Instant::now();
        let events = fresh.simple(sql, None).unwrap();
        shortest = shortest.min(start.elapsed());
        assert_node_lost(&events);
        fresh.simple("ROLLBACK", None).unwrap();
    }
    // Several times, because the machine may be busy; a delay before each would be visible all the same.
    assert!(shortest < Duration::from_secs(2), "at once is not {shortest:?}");
    // Statements for other nodes continue.
    let events = fresh.simple("CREATE TABLE public.here (x int); TABLE public.here", None).unwrap();
    assert!(events.contains(&Event::Complete("SELECT 0".to_owned())), "{events:?}");
    cluster.start_node(1);
    assert_usable(&mut fresh, "n");
}

/// A session in use when its node was restarted gets at most one error.
#[test]
fn restarted_node_costs_at_most_one_error() {
    let (cluster, _client) = cluster_with_table("n");
    let mut wire = wire(&cluster);
    assert_usable(&mut wire, "n");
    cluster.restart_node(1);
    let events = wire.simple("SELECT count(*) FROM n.t", None).unwrap();
    if events.iter().any(|event| matches!(event, Event::Error(_))) {
        assert_node_lost(&events);
    }
    assert_usable(&mut wire, "n");
}

#[test]
fn node_killed_in_a_copy_out() {
    let (cluster, _client) = cluster_with_table("n");
    let mut wire = wire(&cluster);
    wire.send_simple("COPY (SELECT repeat('x', 1000), pg_sleep(0.01) FROM n.t) TO STDOUT").unwrap();
    while !matches!(wire.event().unwrap(), Event::Data(_)) {}
    cluster.kill_node(1);
    assert_node_lost(&wire.until_ready(None).unwrap());
    cluster.start_node(1);
    assert_usable(&mut wire, "n");
}

#[test]
fn node_killed_in_the_middle_of_a_result() {
    let (cluster, _client) = cluster_with_table("n");
    let mut wire = wire(&cluster);
    wire.send_simple("SELECT repeat('x', 1000), pg_sleep(0.01) FROM n.t").unwrap();
    while !matches!(wire.event().unwrap(), Event::Row(_)) {}
    cluster.kill_node(1);
    assert_node_lost(&wire.until_ready(None).unwrap());
    cluster.start_node(1);
    assert_usable(&mut wire, "n");
}

#[test]
fn node_killed_under_a_cursor_and_a_savepoint() {
    let (cluster, _client) = cluster_with_table("n");
    let mut wire = wire(&cluster);
    let open =
        "BEGIN; DECLARE c CURSOR FOR SELECT x FROM n.t ORDER BY x; FETCH 5 FROM c; SAVEPOINT s";
    wire.simple(open, None).unwrap();
    cluster.kill_node(1);
    assert_node_lost(&wire.simple("FETCH 500 FROM c", None).unwrap());
    // The transaction on the node is gone: rolling back to the savepoint must not hide that.
    cluster.start_node(1);
    wire.simple("ROLLBACK TO s", None).unwrap();
    let events = wire.simple("INSERT INTO n.t VALUES (7000)", None).unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Error(_))), "{events:?}");
    let events = wire.simple("COMMIT", None).unwrap();
    let committed = events.contains(&Event::Complete("COMMIT".to_owned()));
    assert!(!committed, "half of a transaction was committed: {events:?}");
    assert_usable(&mut wire, "n");
}

/// One backend of the node is killed: the node restarts all its sessions, including that of our statement.
#[test]
fn backend_of_the_node_killed() {
    let (cluster, _client) = cluster_with_table("n");
    let mut wire = wire(&cluster);
    wire.send_simple("SELECT pg_sleep(600) FROM n.t LIMIT 1").unwrap();
    wait_for_statement(&cluster, "pg_sleep");
    let query = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' \
                 AND pid <> pg_backend_pid()";
    let mut witness = cluster.connect_to_node(1);
    let pid: i32 = witness.query_one(query, &[]).unwrap().get(0);
    helios_tests::kill(Pid::from_raw(pid).unwrap());
    assert_node_lost(&wire.until_ready(None).unwrap());
    // Until the node has noticed, it still accepts connections.
    wait_until("the node ends all sessions", BOUND, || match witness.batch_execute("") {
        Err(_) if witness.is_closed() => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
    wait_until("the node has recovered", BOUND, || {
        cluster.node(1).connect("postgres").map(drop).map_err(|error| format!("{error:#}"))
    });
    assert_usable(&mut wire, "n");
}

#[test]
fn node_session_terminated_by_an_administrator() {
    let (cluster, _client) = cluster_with_table("n");
    let mut wire = wire(&cluster);
    assert_usable(&mut wire, "n");
    let terminate = "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity \
                     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    cluster.connect_to_node(1).query(terminate, &[]).unwrap();
    let events = wire.simple("SELECT count(*) FROM n.t", None).unwrap();
    if events.iter().any(|event| matches!(event, Event::Error(_))) {
        assert_node_lost(&events);
    }
    assert_usable(&mut wire, "n");
}

/// Stops all processes of the node without killing them: connections stay open and nothing responds.
pub struct Frozen<'a> {
    cluster: &'a Cluster,
}

impl<'a> Frozen<'a> {
    /// Node 1.
    pub fn new(cluster: &'a Cluster) -> Self {
        let frozen = Self { cluster };
        frozen.signal(Signal::STOP);
        frozen
    }

    fn signal(&self, signal: Signal) {
        let postmaster = self.cluster.node(1).pid().unwrap();
        // First, so that it starts no more children in the meantime.
        kill_process(postmaster, signal).unwrap();
        for pid in testkit::processes::children(postmaster) {
            // One that has exited in the meantime needs no signal.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

/// Invariant 9 with a node that hangs: each way of interrupting a statement works.
#[test]
fn nothing_waits_for_ever_for_a_node_that_hangs() {
    let (cluster, mut client) = cluster_with_table("n");
    let mut known = wire(&cluster);
    assert_usable(&mut known, "n");
    let frozen = Frozen::new(&cluster);
    let select = "SET statement_timeout = '300ms'; SELECT * FROM n.t";
    assert_code(&known.simple(select, None).unwrap(), "57014");
    // With a session that has to be opened first.
    let insert = "SET statement_timeout = '300ms'; INSERT INTO n.t VALUES (0)";
    assert_code(&wire(&cluster).simple(insert, None).unwrap(), "57014");
    for end in ["pg_cancel_backend", "pg_terminate_backend"] {
        let mut waiting = wire(&cluster);
        waiting.send_simple("SELECT * FROM n.t").unwrap();
        wait_until("the backend waits for the node", BOUND, || {
            let query = "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = $1";
            let row = client.query_one(query, &[&waiting.pid]).unwrap();
            let (state, wait): (String, Option<String>) = (row.get(0), row.get(1));
            let waits = state == "active" && wait.is_some();
            if waits { Ok(()) } else { Err(format!("{state} {wait:?}")) }
        });
        client.query_one(&format!("SELECT {end}($1)"), &[&waiting.pid]).unwrap();
        let event = crate::next_error(&mut waiting);
        assert!(event.field('C').unwrap().starts_with("57"), "{event:?}");
    }
    drop(frozen);
    let mut wire = wire(&cluster);
    assert_usable(&mut wire, "n");
}
