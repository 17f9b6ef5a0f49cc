//! A node whose processes are all stopped: a client that cancels a statement, terminates its session or set a timeout
//! gets an answer immediately, with the true state of the transaction, and nothing of it is left when the node
//! continues.

use std::time::{Duration, Instant};

use helios_tests::{BOUND, Cluster, Event, Wire, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::lost_nodes::Frozen;
use crate::wire;

/// A second on an idle machine, longer on a loaded one.
const AT_ONCE: Duration = Duration::from_millis(2500);

/// Preparation before the node stops, the statement to run then, and the permitted answer: a SQLSTATE, or nothing
/// for a statement that is complete.
const STATEMENTS: [(&str, &str, &str, &[&str]); 13] = [
    ("select", "SELECT FROM s.t", "SELECT * FROM s.t", &["57014"]),
    ("update", "SELECT FROM s.t", "UPDATE s.t SET y = 1 WHERE x = 1", &["08007"]),
    ("in a block", "BEGIN; SELECT FROM s.t", "UPDATE s.t SET y = 1 WHERE x = 2", &["57014"]),
    ("commit", "BEGIN; UPDATE s.t SET y = 1 WHERE x = 3", "COMMIT", &["08007"]),
    (
        "commit of two",
        "BEGIN; UPDATE s.t SET y = 1 WHERE x = 4; UPDATE z.t SET y = 1 WHERE x = 4",
        "COMMIT",
        &["57014"],
    ),
    ("rollback", "BEGIN; UPDATE s.t SET y = 1 WHERE x = 5", "ROLLBACK", &[""]),
    ("savepoint", "BEGIN; SAVEPOINT a; UPDATE s.t SET y = 1 WHERE x = 6", "ROLLBACK TO a", &[""]),
    ("copy", "SELECT FROM s.t", "COPY s.t TO STDOUT", &["57014"]),
    ("fetch", "BEGIN; DECLARE c CURSOR FOR SELECT * FROM s.t", "FETCH c", &["57014", "08001"]),
    ("call", "SELECT FROM s.t", "CALL s.p()", &["57014", "08007"]),
    (
        "loop",
        "SELECT FROM s.t",
        "DO $$ BEGIN FOR i IN 1..3 LOOP PERFORM * FROM s.t; END LOOP; END $$",
        &["57014"],
    ),
    ("definition", "SELECT FROM s.t", "CREATE TABLE s.made ()", &["57014"]),
    ("connect", "", "SELECT * FROM s.t", &["57014", "08001"]),
];

/// Two nodes with a table each; the first is the one that stops.
fn tables() -> (Cluster, Client) {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '500ms'"]);
    let mut client = cluster.connect();
    for (schema, node) in [("s", 1), ("z", 2)] {
        client
            .batch_execute(&format!(
                "CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"node-{node}\"; \
                 CREATE TABLE {schema}.t (x int PRIMARY KEY, y int NOT NULL DEFAULT 0); \
                 INSERT INTO {schema}.t SELECT generate_series(1, 20); \
                 CREATE PROCEDURE {schema}.p() LANGUAGE sql AS 'UPDATE {schema}.t SET y = 1 WHERE x = 7'"
            ))
            .unwrap();
    }
    (cluster, client)
}

/// Sends every statement to the stopped node, and interrupts each with `end`. Returns the names of transactions with unknown
/// outcome.
fn stop_each(
    cluster: &Cluster,
    client: &mut Client,
    before: &str,
    end: impl Fn(&mut Client, &Wire),
) -> Vec<String> {
    let mut wires: Vec<Wire> = STATEMENTS.iter().map(|_| wire(cluster)).collect();
    for (wire, (_, ready, _, _)) in wires.iter_mut().zip(STATEMENTS) {
        wire.simple(&format!("{before}; {ready}"), None).unwrap();
    }
    let frozen = Frozen::new(cluster);
    let mut unknown = Vec::new();
    for (wire, (name, _, statement, allowed)) in wires.iter_mut().zip(STATEMENTS) {
        wire.send_simple(statement).unwrap();
        let sent = Instant::now();
        if before.is_empty() {
            wait_for_node(client, wire);
        }
        let start = Instant::now();
        end(client, wire);
        let event = first_of_interest(wire);
        let took = if before.is_empty() { start.elapsed() } else { sent.elapsed() };
        let code = event.field('C').unwrap_or_default().to_owned();
        let ended = code == "57P01";
        assert!(ended || allowed.contains(&code.as_str()), "{name}: {event:?}");
        assert!(took < AT_ONCE, "{name}: {took:?}, {event:?}");
        if code == "57014" && !before.is_empty() {
            let message = event.field('M').unwrap();
            assert!(message.contains("statement timeout"), "{name}: {event:?}");
        }
        if code == "08007" && name == "commit" {
            let detail = event.field('D').unwrap();
            unknown.push(detail.split('"').nth(1).unwrap().to_owned());
        }
    }
    drop(frozen);
    unknown
}

/// The error, or the result of a statement without one.
fn first_of_interest(wire: &mut Wire) -> Event {
    loop {
        let event = wire.event().unwrap();
        if matches!(event, Event::Error(_) | Event::Ready(_)) {
            return event;
        }
    }
}

fn wait_for_node(client: &mut Client, wire: &Wire) {
    wait_until("the backend waits for the node", BOUND, || {
        let query = "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = $1";
        let row = client.query_one(query, &[&wire.pid]).unwrap();
        let (state, wait): (String, Option<String>) = (row.get(0), row.get(1));
        let waits = state == "active" && wait.as_deref() == Some("Extension");
        if waits { Ok(()) } else { Err(format!("{state} {wait:?}")) }
    });
}

/// Lets the node continue: nothing is prepared, nothing runs, no locks are held, and the answers were true.
fn assert_nothing_left(cluster: &Cluster, client: &mut Client, unknown: &[String]) {
    for number in [1, 2] {
        wait_until("nothing is left on the node", BOUND, || {
            let query = "SELECT 'prepared ' || gid FROM pg_prepared_xacts \
                 UNION ALL SELECT format('%s %s', state, query) FROM pg_stat_activity \
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle' \
                 UNION ALL SELECT format('lock on %s', relation::regclass) FROM pg_locks \
                 WHERE relation = to_regclass('s.t')";
            let rows = cluster.connect_to_node(number).query(query, &[]).unwrap();
            let left: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
    }
    client.batch_execute("SET statement_timeout = 0").unwrap();
    let mut y = |schema: &str, x: i32| -> i32 {
        let query = format!("SELECT y FROM {schema}.t WHERE x = $1");
        client.query_one(&query, &[&x]).unwrap().get(0)
    };
    assert_eq!((y("s", 2), y("s", 5), y("s", 6)), (0, 0, 0), "rolled back");
    assert_eq!((y("s", 4), y("z", 4)), (0, 0), "it was reported as cancelled");
    let committed = y("s", 3) == 1;
    for gid in unknown {
        let status: String =
            client.query_one("SELECT helios_transaction_status($1)", &[gid]).unwrap().get(0);
        assert_eq!(status == "committed", committed, "{gid}: {status}");
    }
    client.batch_execute("UPDATE s.t SET y = 0").unwrap();
}

#[test]
fn cancelled_on_a_stopped_node() {
    let (cluster, mut client) = tables();
    let cancel = |_: &mut Client, wire: &Wire| wire.cancel(cluster.coordinator()).unwrap();
    let unknown = stop_each(&cluster, &mut client, "", cancel);
    assert_eq!(unknown.len(), 1, "the error of COMMIT contains a transaction name");
    assert_nothing_left(&cluster, &mut client, &unknown);
}

#[test]
fn terminated_on_a_stopped_node() {
    let (cluster, mut client) = tables();
    let terminate = |client: &mut Client, wire: &Wire| {
        client.query_one("SELECT pg_terminate_backend($1)", &[&wire.pid]).unwrap();
    };
    let unknown = stop_each(&cluster, &mut client, "", terminate);
    assert_nothing_left(&cluster, &mut client, &unknown);
}

#[test]
fn timed_out_on_a_stopped_node() {
    let (cluster, mut client) = tables();
    let unknown = stop_each(&cluster, &mut client, "SET statement_timeout = '700ms'", |_, _| {});
    assert_nothing_left(&cluster, &mut client, &unknown);
}

/// The commit decision has been made when the node stops: the client is told in time.
#[test]
fn committed_here_while_the_node_stops() {
    let (cluster, mut client) = tables();
    let mut wire = wire(&cluster);
    let begin = "BEGIN; UPDATE z.t SET y = 1 WHERE x = 8; SELECT FROM s.t";
    wire.simple(begin, None).unwrap();
    let frozen = Frozen::new(&cluster);
    // One node that was only read: it is released.
    wire.send_simple("COMMIT").unwrap();
    wait_for_node(&mut client, &wire);
    let start = Instant::now();
    wire.cancel(cluster.coordinator()).unwrap();
    let events = wire.until_ready(None).unwrap();
    assert!(events.contains(&Event::Complete("COMMIT".to_owned())), "{events:?}");
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    drop(frozen);
    let y: i32 = client.query_one("SELECT y FROM z.t WHERE x = 8", &[]).unwrap().get(0);
    assert_eq!(y, 1);
}

/// A statement that waits on its node reports why it was interrupted, as on one server.
#[test]
fn the_reason_of_a_cancel_is_told() {
    let (cluster, mut client) = tables();
    client.batch_execute("CREATE TABLE s.w (i int)").unwrap();
    let mut blocker = client.transaction().unwrap();
    blocker.batch_execute("UPDATE s.t SET y = 2; LOCK TABLE s.w").unwrap();
    for statement in [
        "UPDATE s.t SET y = 3",
        "BEGIN; UPDATE s.t SET y = 3",
        "DELETE FROM s.t RETURNING x",
        "CREATE INDEX CONCURRENTLY ON s.t (y)",
        "VACUUM s.w",
        "CALL s.p()",
        "INSERT INTO s.w VALUES (1)",
    ] {
        let mut wire = Wire::connect(cluster.coordinator(), DATABASE);
        wire.simple("SET statement_timeout = '300ms'", None).unwrap();
        let events = wire.simple(statement, None).unwrap();
        let error = crate::error(&events);
        assert_eq!(error.field('C'), Some("57014"), "{statement}: {error:?}");
        let message = error.field('M').unwrap();
        assert_eq!(message, "canceling statement due to statement timeout", "{statement}");
    }
    blocker.rollback().unwrap();
}
