//! Cursors see the rows of the moment when they were opened, whoever changes them before the first row is fetched.

use helios_tests::{Bound, Cluster, Event, PlainServer, Wire, refused, text};
use postgres::Client;
use testkit::cluster::DATABASE;

/// Opens a cursor, then fetches from it.
struct Case {
    name: &'static str,
    open: fn(&mut Wire),
    fetch: fn(&mut Wire) -> Vec<Event>,
}

fn simple(wire: &mut Wire, sql: &str) -> Vec<Event> {
    wire.simple(sql, None).unwrap()
}

fn open_portal(wire: &mut Wire, name: &str, sql: &str, bound: &Bound<'_>) {
    wire.parse("", sql, &[]).unwrap();
    wire.bind(name, "", bound).unwrap();
    let events = wire.sync().unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::Error(_))), "{events:?}");
}

fn execute(wire: &mut Wire, name: &str, rows: i32) -> Vec<Event> {
    wire.execute(name, rows).unwrap();
    wire.sync().unwrap()
}

const CASES: [Case; 7] = [
    Case {
        name: "DECLARE",
        open: |wire| drop(simple(wire, "DECLARE c CURSOR FOR SELECT x FROM cursors.t ORDER BY x")),
        fetch: |wire| simple(wire, "FETCH ALL FROM c"),
    },
    Case {
        name: "DECLARE of a scrollable one that locks nothing",
        open: |wire| {
            drop(simple(wire, "DECLARE c SCROLL CURSOR FOR SELECT x FROM cursors.t ORDER BY x"))
        },
        fetch: |wire| simple(wire, "FETCH LAST FROM c; FETCH BACKWARD ALL FROM c"),
    },
    Case {
        name: "DECLARE with HOLD, fetched after the transaction",
        open: |wire| {
            drop(simple(wire, "DECLARE c CURSOR WITH HOLD FOR SELECT x FROM cursors.t ORDER BY x"));
        },
        fetch: |wire| {
            simple(wire, "COMMIT; FETCH ALL FROM c; FETCH BACKWARD 2 FROM c; CLOSE c; BEGIN")
        },
    },
    Case {
        name: "a portal, read in steps",
        open: |wire| {
            open_portal(wire, "p", "SELECT x FROM cursors.t ORDER BY x", &Bound::default())
        },
        fetch: |wire| {
            let mut events = execute(wire, "p", 2);
            events.extend(execute(wire, "p", 0));
            events
        },
    },
    Case {
        name: "a portal with parameters, read at once",
        open: |wire| {
            let bound = Bound { values: vec![Some("2")], types: vec![23], ..Bound::default() };
            open_portal(
                wire,
                "odd \"name\"",
                "SELECT x FROM cursors.t WHERE x > $1 ORDER BY x",
                &bound,
            );
        },
        fetch: |wire| execute(wire, "odd \"name\"", 0),
    },
    Case {
        name: "two at once",
        open: |wire| {
            drop(simple(wire, "DECLARE c CURSOR FOR SELECT x FROM cursors.t ORDER BY x"));
            drop(simple(wire, "DECLARE d CURSOR FOR SELECT -x FROM cursors.t ORDER BY x"));
        },
        fetch: |wire| {
            simple(wire, "FETCH 1 FROM c; FETCH 2 FROM d; FETCH 1 FROM c; FETCH ALL FROM d")
        },
    },
    Case {
        name: "WHERE CURRENT OF a row that has changed",
        open: |wire| {
            drop(simple(wire, "DECLARE c CURSOR FOR SELECT x FROM cursors.t ORDER BY x FOR UPDATE"))
        },
        fetch: |wire| {
            simple(
                wire,
                "FETCH 2 FROM c; UPDATE cursors.t SET x = -x WHERE CURRENT OF c RETURNING x",
            )
        },
    },
];

fn run(wire: &mut Wire, other: &mut Client, case: &Case) -> Vec<Event> {
    other
        .batch_execute("TRUNCATE cursors.t; INSERT INTO cursors.t SELECT generate_series(1, 5)")
        .unwrap();
    simple(wire, "BEGIN");
    (case.open)(wire);
    other
        .batch_execute("DELETE FROM cursors.t WHERE x = 3; INSERT INTO cursors.t VALUES (6)")
        .unwrap();
    let mut events = (case.fetch)(wire);
    events.extend(simple(wire, "ROLLBACK"));
    // The table has another OID on each server.
    for event in &mut events {
        if let Event::Columns(columns) = event {
            columns.iter_mut().for_each(|column| column.table = 0);
        }
    }
    events
}

#[test]
fn cursors_see_the_rows_of_the_moment_when_they_were_opened() {
    let cluster = Cluster::shared();
    let plain = PlainServer::shared();
    let mut others = [plain.connect(), cluster.connect()];
    let mut wires =
        [&plain.server, cluster.coordinator()].map(|server| Wire::connect(server, DATABASE));
    for (client, distributed) in others.iter_mut().zip(["", "DISTRIBUTED"]) {
        let sql = format!("CREATE SCHEMA cursors {distributed}; CREATE TABLE cursors.t (x int)");
        client.batch_execute(&sql).unwrap();
    }
    for case in CASES {
        let [expected, found] = std::array::from_fn(|i| run(&mut wires[i], &mut others[i], &case));
        assert_eq!(found, expected, "{}", case.name);
    }
}

/// The SQLSTATE with which a statement fails.
fn code(client: &mut Client, sql: &str) -> String {
    client.batch_execute(sql).unwrap_err().code().unwrap().code().to_owned()
}

/// Cursors of this server and those that functions open on a node do not touch each other, whatever their names are.
#[test]
fn cursors_on_a_node_have_names_of_their_own() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA own_names DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE own_names.t AS SELECT generate_series(1, 9) AS x; \
             CREATE SCHEMA other_names DISTRIBUTED ON NODE \"node-2\"; CREATE TABLE other_names.t AS TABLE own_names.t; \
             CREATE FUNCTION own_names.opens(c refcursor) RETURNS int LANGUAGE plpgsql AS $$ DECLARE v int; BEGIN \
                 OPEN c FOR SELECT x FROM own_names.t ORDER BY x DESC FOR UPDATE; FETCH c INTO v; RETURN v; END $$; \
             CREATE FUNCTION own_names.fetches(c refcursor) RETURNS int LANGUAGE plpgsql AS $$ DECLARE v int; BEGIN \
                 FETCH c INTO v; RETURN v; END $$",
        )
        .unwrap();
    let declare = "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT x FROM own_names.t ORDER BY x";
    client.batch_execute(declare).unwrap();
    assert_eq!(text(&mut client, "FETCH 2 FROM c"), ["1", "2"]);
    client.batch_execute("SAVEPOINT s").unwrap();
    assert_eq!(code(&mut client, "SELECT own_names.fetches('c')"), "34000");
    client.batch_execute("ROLLBACK TO s").unwrap();
    assert_eq!(text(&mut client, "SELECT own_names.opens('c')"), ["9"]);
    assert_eq!(text(&mut client, "FETCH 1 FROM c"), ["3"]);
    assert_eq!(text(&mut client, "FETCH ABSOLUTE 6 FROM c"), ["6"]);
    client.batch_execute("ROLLBACK").unwrap();
    // One that a function on the node has opened is not the one that WHERE CURRENT OF names here.
    client.batch_execute("BEGIN; SELECT own_names.opens('d'); DECLARE d CURSOR FOR SELECT x FROM other_names.t FOR UPDATE; FETCH d").unwrap();
    let update = "UPDATE own_names.t SET x = 0 WHERE CURRENT OF d";
    refused(&mut client, update, "0A000", "cannot change the current row of cursor \"d\"");
    client.batch_execute("ROLLBACK; BEGIN; DECLARE d CURSOR FOR SELECT a.x FROM own_names.t AS a JOIN other_names.t AS b USING (x) FOR UPDATE OF a; FETCH d").unwrap();
    refused(&mut client, update, "0A000", "cannot change the current row of cursor \"d\"");
    client.batch_execute("ROLLBACK; BEGIN").unwrap();
    assert_eq!(code(&mut client, update), "34000");
    client.batch_execute("ROLLBACK").unwrap();
}

/// A cursor that was closed stays closed if the next statement could not be sent.
#[test]
fn closed_cursors_are_closed_though_the_next_statement_is_not_sent() {
    let cluster = Cluster::shared();
    cluster
        .connect()
        .batch_execute(
            "CREATE ROLE closes LOGIN; CREATE SCHEMA closing AUTHORIZATION closes DISTRIBUTED; \
             CREATE FUNCTION public.beyond_reach() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
                 PERFORM set_config('session_replication_role', 'replica', true); END $$",
        )
        .unwrap();
    let mut client = cluster.connect_as("closes");
    client
        .batch_execute(
            "CREATE TABLE closing.t AS SELECT generate_series(1, 9) AS x; \
             DO $$ DECLARE c refcursor; r record; refused boolean := false; BEGIN \
                 OPEN c FOR SELECT x FROM closing.t; FETCH c INTO r; CLOSE c; \
                 BEGIN PERFORM public.beyond_reach(); PERFORM 1 FROM closing.t; \
                 EXCEPTION WHEN feature_not_supported THEN refused := true; END; \
                 ASSERT refused; ALTER TABLE closing.t ADD y int; END $$",
        )
        .unwrap();
}
