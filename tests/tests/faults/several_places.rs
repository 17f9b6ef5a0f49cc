//! Statements over two nodes and this server that are stopped in the middle: a node is lost, or somebody interrupts them.
//! The error is clear and comes soon, and no node keeps a portal, a transaction, a lock or rows that were sent to it.

use std::time::{Duration, Instant};

use helios_tests::{BOUND, Cluster, Event, Proxy, Wire, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{assert_code, error, wire};

/// A second on an idle machine, longer on a loaded one.
const SOON: Duration = Duration::from_secs(5);

/// Rows of each table: more than one batch of a portal, and more than sockets hold.
const ROWS: i32 = 20_000;

const SCHEMAS: [&str; 3] = ["one", "two", "here"];

/// A query over all three places, in the order in which they are read. Its rows are wide here, so that it has open portals on
/// both nodes while its client does not read them.
const UNION: &str = "SELECT repeat(v, 20), x FROM \
     (SELECT v, x FROM here.t WHERE x < 3 UNION ALL SELECT v, x FROM one.t UNION ALL SELECT v, x FROM two.t) AS u";
/// A join of all three places.
const JOIN: &str =
    "SELECT count(*) FROM here.t AS h JOIN one.t AS a USING (x) JOIN two.t AS b USING (x)";
/// Sends rows of this server to the second node, slowly. Those that are not copied go to disk there.
const INSERT: &str = "INSERT INTO two.copy SELECT h.x, h.v FROM here.t AS h, LATERAL (SELECT pg_sleep(h.x * 0.0000001)) AS s";

/// Makes each query of this program's one that this server computes over rows of the nodes.
const IN_PARTS: &str = "SET helios.min_fetched_rows = -1";
/// Sends the rows of an INSERT before its statement, not by COPY, however many they are.
const NOT_COPIED: &str = "SET helios.min_copied_rows = -1";

fn tables() -> Cluster {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '500ms'"]);
    let mut client = cluster.connect();
    for (schema, place) in
        SCHEMAS.iter().zip(["DISTRIBUTED ON NODE \"node-1\"", "DISTRIBUTED ON NODE \"node-2\"", ""])
    {
        client
            .batch_execute(&format!(
                "CREATE SCHEMA {schema} {place}; CREATE TABLE {schema}.t (x int PRIMARY KEY, v text); \
                 INSERT INTO {schema}.t SELECT i, repeat('v', 500) FROM generate_series(1, {ROWS}) AS i; \
                 CREATE TABLE {schema}.copy (x int, v text)"
            ))
            .unwrap();
    }
    cluster
}

/// Waits until the nodes have neither transactions nor locks nor temporary files left of anybody's.
fn assert_at_rest(cluster: &Cluster) {
    for node in cluster.nodes() {
        wait_until(&format!("nothing is left on {}", node.name), BOUND, || {
            let mut client = node.connect(DATABASE).map_err(|error| format!("{error:#}"))?;
            let query = "SELECT format('%s %s', state, query) FROM pg_stat_activity \
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle' \
                 UNION ALL SELECT format('lock on %s', relation::regclass) FROM pg_locks \
                 WHERE relation IN (to_regclass('one.t'), to_regclass('two.t'), to_regclass('one.copy'), to_regclass('two.copy')) \
                 UNION ALL SELECT 'prepared ' || gid FROM pg_prepared_xacts \
                 UNION ALL SELECT 'file ' || name FROM pg_ls_tmpdir()";
            let rows = client.query(query, &[]).map_err(|error| error.to_string())?;
            let left: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
    }
}

/// Asserts that the session reads all places.
#[track_caller]
fn assert_reads_all(wire: &mut Wire) {
    let count = format!("SELECT count(*) FROM ({UNION}) AS rows");
    let events = wire.simple(&count, None).unwrap();
    let expected = (2 * ROWS + 2).to_string().into_bytes();
    assert!(events.contains(&Event::Row(vec![Some(expected)])), "{events:?}");
    assert_eq!(events.last(), Some(&Event::Ready('I')));
}

/// A session that has read all places, so that it has nothing more to ask about their sizes.
fn reader(cluster: &Cluster) -> Wire {
    let mut wire = wire(cluster);
    wire.simple(IN_PARTS, None).unwrap();
    assert_reads_all(&mut wire);
    wire
}

/// Waits until the sessions of the coordinator on each node, beginning with node 1, show this state or wait event.
fn wait_for_states(cluster: &Cluster, states: [&str; 2]) {
    for (node, state) in cluster.nodes().iter().zip(states) {
        let mut client = node.connect(DATABASE).unwrap();
        wait_until(&format!("a session on {} is {state}", node.name), BOUND, || {
            let query = "SELECT format('%s, waits for %s', state, coalesce(wait_event_type, 'nothing')) \
                 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
            let rows = client.query(query, &[]).unwrap();
            let seen: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            if seen.iter().any(|s| s.starts_with(state)) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        });
    }
}

/// Asserts that the statement failed soon because a node was lost, and which one.
#[track_caller]
fn assert_lost(events: &[Event], name: &str, start: Instant) {
    let error = error(events);
    let code = error.field('C').unwrap();
    assert!(code.starts_with("08") || code.starts_with("57P0"), "{error:?}");
    assert!(format!("{error:?}").contains(name), "{name} is not named: {error:?}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

/// All messages to the end of the statement, except its rows.
fn answer(wire: &mut Wire) -> Vec<Event> {
    let mut events = Vec::new();
    while !matches!(events.last(), Some(Event::Ready(_))) {
        let event = wire.event().unwrap();
        if !matches!(event, Event::Row(_)) {
            events.push(event);
        }
    }
    events
}

/// Loses a node in the middle of a result.
fn read_and_lose(cluster: &Cluster, name: &str, lose: impl Fn(), bring_back: impl Fn()) {
    let cursor = format!("BEGIN; DECLARE c CURSOR FOR {UNION}; FETCH 10 FROM c; FETCH ALL FROM c");
    for query in [UNION, &cursor] {
        let mut wire = reader(cluster);
        wire.send_simple(query).unwrap();
        while !matches!(wire.event().unwrap(), Event::Row(_)) {}
        lose();
        let start = Instant::now();
        assert_lost(&answer(&mut wire), name, start);
        wire.simple("ROLLBACK", None).unwrap();
        bring_back();
        assert_at_rest(cluster);
        assert_reads_all(&mut wire);
    }
}

#[test]
fn node_killed_while_two_are_read() {
    let cluster = tables();
    for number in [1, 2] {
        let name = format!("node-{number}");
        let (kill, start) = (|| cluster.kill_node(number), || cluster.start_node(number));
        read_and_lose(&cluster, &name, kill, start);
        // It waits for a lock, and the other node has begun to answer.
        let mut wire = reader(&cluster);
        let blocker = lock(&cluster, number);
        wire.send_simple(JOIN).unwrap();
        let mut states = ["idle in transaction"; 2];
        states[number - 1] = "active, waits for Lock";
        wait_for_states(&cluster, states);
        kill();
        let begun = Instant::now();
        assert_lost(&answer(&mut wire), &name, begun);
        drop(blocker);
        start();
        assert_at_rest(&cluster);
        assert_reads_all(&mut wire);
    }
}

#[test]
fn connection_cut_while_two_nodes_are_read() {
    let cluster = tables();
    let proxies = [1, 2].map(|number| Proxy::of_node(&cluster, number));
    for (proxy, name) in proxies.iter().zip(["node-1", "node-2"]) {
        read_and_lose(&cluster, name, || proxy.cut(), || ());
    }
}

/// Locks a node's table as long as it lives.
fn lock(cluster: &Cluster, number: usize) -> Client {
    let mut blocker = cluster.connect_to_node(number);
    blocker.batch_execute(&format!("BEGIN; LOCK TABLE {}.t", SCHEMAS[number - 1])).unwrap();
    blocker
}

/// Interrupts a statement that these states of its sessions show to be in the middle, while this node's table is locked.
/// Nothing of the statement is left.
fn interrupt(
    cluster: &Cluster,
    setting: &str,
    sql: &str,
    states: [&str; 2],
    locked: Option<usize>,
) {
    let mut client = cluster.connect();
    for end in ["pg_cancel_backend", "pg_terminate_backend", "statement_timeout"] {
        let mut wire = reader(cluster);
        let timeout = if end == "statement_timeout" { "1s" } else { "0" };
        let settings =
            format!("{setting}; SET work_mem = '64kB'; SET statement_timeout = '{timeout}'");
        wire.simple(&settings, None).unwrap();
        let blocker = locked.map(|number| lock(cluster, number));
        wire.send_simple(sql).unwrap();
        let mut start = Instant::now();
        if timeout == "0" {
            wait_for_states(cluster, states);
            start = Instant::now();
            client.query_one(&format!("SELECT {end}($1)"), &[&wire.pid]).unwrap();
        }
        let error = crate::next_error(&mut wire);
        let code = if end == "pg_terminate_backend" { "57P01" } else { "57014" };
        assert_eq!(error.field('C'), Some(code), "{sql}, {end}: {error:?}");
        assert!(start.elapsed() < SOON, "{sql}, {end}: {:?}", start.elapsed());
        if code == "57014" {
            // The session stays, and so do those on the nodes.
            wire.until_ready(None).unwrap();
            wire.simple("ROLLBACK; SET statement_timeout = 0", None).unwrap();
        }
        drop(blocker);
        assert_at_rest(cluster);
        if code == "57014" {
            assert_reads_all(&mut wire);
        }
        let rows = client.query_one("SELECT count(*) FROM two.copy", &[]).unwrap();
        assert_eq!(rows.get::<_, i64>(0), 0, "{sql}, {end}");
    }
}

#[test]
fn interrupted_in_the_middle_of_several_places() {
    let cluster = tables();
    let (open, waits) = ("idle in transaction", "active, waits for Lock");
    let looped = "DO $$ DECLARE r record; BEGIN FOR r IN ";
    let looped = format!("{looped}{UNION} LOOP PERFORM pg_sleep(0.01); END LOOP; END $$");
    interrupt(&cluster, IN_PARTS, &looped, [open, open], None);
    interrupt(&cluster, IN_PARTS, JOIN, [waits, open], Some(1));
    interrupt(&cluster, IN_PARTS, JOIN, [open, waits], Some(2));
    interrupt(&cluster, NOT_COPIED, INSERT, ["", open], None);
    interrupt(&cluster, IN_PARTS, INSERT, ["", "active, waits for Client"], None);
}

/// Temporary files on the second node: rows that were sent there and did not fit into memory.
fn files(cluster: &Cluster) -> i64 {
    let query = "SELECT count(*) FROM pg_ls_tmpdir()";
    cluster.connect_to_node(2).query_one(query, &[]).unwrap().get(0)
}

/// A transaction that goes on after its statement failed does not keep what was sent for it.
#[test]
fn rows_that_were_sent_go_with_their_savepoint() {
    let cluster = tables();
    let mut wire = reader(&cluster);
    wire.simple(NOT_COPIED, None).unwrap();
    wire.simple("SET work_mem = '64kB'; BEGIN; SAVEPOINT a", None).unwrap();
    for _ in 0..2 {
        wire.send_simple(INSERT).unwrap();
        wait_until("rows were sent", BOUND, || match files(&cluster) {
            0 => Err("no files".to_owned()),
            _ => Ok(()),
        });
        wire.cancel(cluster.coordinator()).unwrap();
        assert_code(&wire.until_ready(None).unwrap(), "57014");
        wire.simple("ROLLBACK TO a", None).unwrap();
        assert_eq!(files(&cluster), 0, "files after a savepoint was rolled back");
    }
    let insert = "INSERT INTO two.copy SELECT * FROM here.t";
    let events = wire.simple(insert, None).unwrap();
    assert!(events.contains(&Event::Complete(format!("INSERT 0 {ROWS}"))), "{events:?}");
    assert_eq!(files(&cluster), 0, "files after a statement");
    wire.simple("COMMIT", None).unwrap();
    assert_at_rest(&cluster);
}
