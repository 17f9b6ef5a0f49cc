//! The first statement of a session, of a transaction, after a restart, and after a change of a table
//! succeeds without a retry.

use helios_tests::{Bound, Cluster, Event, Wire};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::server::Shutdown;

/// A private cluster with schema `f` on node 1 and its table `t (id, v)`, ids 1 to 10.
fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    let script = "CREATE SCHEMA f DISTRIBUTED; \
                  CREATE TABLE f.t (id int PRIMARY KEY, v text DEFAULT 'v'); \
                  INSERT INTO f.t SELECT generate_series(1, 10)";
    client.batch_execute(script).unwrap();
    (cluster, client)
}

/// The single value returned by a simple query, or SQLSTATE and message of its error.
fn answer(events: &[Event]) -> Result<String, String> {
    if let Some(error) = events.iter().find(|event| matches!(event, Event::Error(_))) {
        return Err([error.field('C'), error.field('M')].map(Option::unwrap_or_default).join(" "));
    }
    let row = events.iter().rev().find_map(|event| match event {
        Event::Row(values) => Some(values[0].clone().unwrap_or_default()),
        _ => None,
    });
    Ok(String::from_utf8(row.unwrap_or_default()).unwrap())
}

fn simple(wire: &mut Wire, sql: &str) -> Result<String, String> {
    answer(&wire.simple(sql, None).unwrap())
}

fn extended(wire: &mut Wire, sql: &str, values: &[&str]) -> Result<String, String> {
    let values = values.iter().map(|value| Some(*value)).collect();
    answer(&wire.extended(sql, &Bound { values, ..Bound::default() }, None).unwrap())
}

type Stop = fn(&Cluster);

/// However the node went down, it is up again, and the session was idle all the time.
#[test]
fn node_that_crashed_and_came_back_while_idle_costs_no_error() {
    let (cluster, _client) = cluster();
    let ways: [(&str, Stop); 3] = [
        ("fast", |cluster| cluster.node(1).stop(Shutdown::Fast).unwrap()),
        // Each backend sends a warning before it closes the connection.
        ("immediate", |cluster| cluster.node(1).stop(Shutdown::Immediate).unwrap()),
        ("killed", |cluster| cluster.kill_node(1)),
    ];
    for (way, stop) in ways {
        let mut reading = Wire::connect(cluster.coordinator(), DATABASE);
        let mut writing = Wire::connect(cluster.coordinator(), DATABASE);
        let mut prepared = Wire::connect(cluster.coordinator(), DATABASE);
        for wire in [&mut reading, &mut writing, &mut prepared] {
            assert_eq!(simple(wire, "SELECT count(*) FROM f.t").as_deref(), Ok("10"));
        }
        simple(&mut prepared, "PREPARE p AS SELECT count(*) FROM f.t").unwrap();
        simple(&mut prepared, "EXECUTE p").unwrap();
        stop(&cluster);
        cluster.start_node(1);
        assert_eq!(simple(&mut reading, "SELECT count(*) FROM f.t").as_deref(), Ok("10"), "{way}");
        let update = "BEGIN; UPDATE f.t SET v = 'w' WHERE id = 1 RETURNING v; COMMIT";
        assert_eq!(simple(&mut writing, update).as_deref(), Ok("w"), "{way}");
        assert_eq!(simple(&mut prepared, "EXECUTE p").as_deref(), Ok("10"), "{way}");
    }
}

#[test]
fn defaults_of_transactions_hold_for_the_first_statement() {
    let (cluster, mut client) = cluster();
    let script = "CREATE ROLE careful LOGIN; GRANT USAGE ON SCHEMA f TO careful; \
                  GRANT ALL ON f.t TO careful; \
                  ALTER ROLE careful SET default_transaction_isolation = 'repeatable read'; \
                  ALTER ROLE careful SET default_transaction_read_only = on";
    client.batch_execute(script).unwrap();
    let what = "SELECT current_setting('transaction_isolation') || ' ' || \
                current_setting('transaction_read_only') || ' ' || \
                current_setting('transaction_deferrable') FROM f.t LIMIT 1";
    let by_options = [
        ("user", "postgres"),
        ("database", DATABASE),
        (
            "options",
            "-c default_transaction_isolation=serializable \
                     -c default_transaction_read_only=on -c default_transaction_deferrable=on",
        ),
    ];
    let mut wire = Wire::connect_with(cluster.coordinator(), &by_options).unwrap();
    let write = "INSERT INTO f.t VALUES (11)";
    let refused = Err("25006 cannot execute INSERT in a read-only transaction".to_owned());
    assert_eq!(simple(&mut wire, what).as_deref(), Ok("serializable on on"));
    assert_eq!(simple(&mut wire, write), refused);
    assert_eq!(extended(&mut wire, "INSERT INTO f.t VALUES ($1)", &["11"]), refused);
    assert_eq!(simple(&mut wire, "COPY f.t FROM STDIN").unwrap_err()[..5], *"25006");
    let by_role = [("user", "careful"), ("database", DATABASE)];
    let mut wire = Wire::connect_with(cluster.coordinator(), &by_role).unwrap();
    assert_eq!(simple(&mut wire, write), refused, "the very first statement");
    assert_eq!(extended(&mut wire, what, &[]).as_deref(), Ok("repeatable read on off"));
    // Explicit transaction modes override the defaults, for that transaction only.
    simple(&mut wire, "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE").unwrap();
    assert_eq!(simple(&mut wire, what).as_deref(), Ok("read committed off off"));
    assert_eq!(simple(&mut wire, write).as_deref(), Ok(""));
    simple(&mut wire, "ROLLBACK").unwrap();
    assert_eq!(simple(&mut wire, write), refused);
    // Change the session's defaults.
    simple(&mut wire, "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        .unwrap();
    simple(&mut wire, "SET default_transaction_read_only = off").unwrap();
    assert_eq!(simple(&mut wire, what).as_deref(), Ok("serializable off off"));
    simple(&mut wire, "RESET ALL").unwrap();
    assert_eq!(simple(&mut wire, what).as_deref(), Ok("repeatable read on off"));
    assert_eq!(client.query_one("SELECT count(*) FROM f.t", &[]).unwrap().get::<_, i64>(0), 10);
}

/// A statement that is re-analyzed for each execution uses the current definition of its table.
#[test]
fn table_that_changed_costs_unnamed_statements_no_error() {
    let (cluster, mut client) = cluster();
    client
        .batch_execute(
            "CREATE FUNCTION public.first_row() RETURNS text LANGUAGE plpgsql AS $$ DECLARE r record; \
             BEGIN SELECT * INTO r FROM f.t WHERE id = 1; RETURN r::text; END $$",
        )
        .unwrap();
    let mut wire = Wire::connect(cluster.coordinator(), DATABASE);
    let by_id = "SELECT t::text, * FROM f.t WHERE id = $1";
    for _ in 0..8 {
        assert_eq!(extended(&mut wire, by_id, &["1"]).as_deref(), Ok("(1,v)"));
        assert_eq!(simple(&mut wire, "SELECT public.first_row()").as_deref(), Ok("(1,v)"));
    }
    simple(
        &mut wire,
        "PREPARE p AS SELECT * FROM f.t WHERE id = 1; PREPARE q AS SELECT id FROM f.t WHERE id = 1",
    )
    .unwrap();
    simple(&mut wire, "EXECUTE p").unwrap();
    simple(&mut wire, "EXECUTE q").unwrap();
    for (change, row) in [
        ("ALTER TABLE f.t ADD COLUMN more int DEFAULT 7", "(1,v,7)"),
        ("ALTER TABLE f.t ALTER COLUMN more TYPE text", "(1,v,7)"),
        ("ALTER TABLE f.t DROP COLUMN v", "(1,7)"),
        ("ALTER TABLE f.t RENAME TO u; ALTER TABLE f.u RENAME TO t", "(1,7)"),
    ] {
        client.batch_execute(change).unwrap();
        assert_eq!(extended(&mut wire, by_id, &["1"]).as_deref(), Ok(row), "{change}");
        assert_eq!(simple(&mut wire, "SELECT public.first_row()").as_deref(), Ok(row), "{change}");
        // If the client was told the result columns, they stay the same or the statement fails, as on one server.
        let told = simple(&mut wire, "EXECUTE p");
        assert_eq!(told, Err("0A000 cached plan must not change result type".to_owned()));
        assert_eq!(simple(&mut wire, "EXECUTE q").as_deref(), Ok("1"), "{change}");
    }
}

/// A transaction that reads only the directory and a node does not cause serialization failures in others.
#[test]
fn the_directory_is_read_without_predicate_locks() {
    let (cluster, mut client) = cluster();
    client
        .batch_execute(
            "CREATE TABLE plain (x int PRIMARY KEY); SELECT helios_create_reference_table('plain'); CREATE TABLE here (x int)",
        )
        .unwrap();
    let mut wire = Wire::connect(cluster.coordinator(), DATABASE);
    simple(&mut wire, "BEGIN ISOLATION LEVEL SERIALIZABLE").unwrap();
    assert_eq!(simple(&mut wire, "SELECT count(*) FROM f.t").unwrap(), "10");
    assert_eq!(simple(&mut wire, "SELECT count(*) FROM plain").unwrap(), "0");
    let locks = "SELECT count(*) || ' ' || coalesce(string_agg(DISTINCT relation::regclass::text, ' '), '') \
        FROM pg_locks WHERE mode = 'SIReadLock' AND relation <> 'plain'::regclass";
    assert_eq!(simple(&mut wire, locks).unwrap(), "0 ");
    // Verify that predicate locks are taken on a local table.
    assert_eq!(simple(&mut wire, "SELECT count(*) FROM here").unwrap(), "0");
    assert_eq!(simple(&mut wire, locks).unwrap(), "1 here");
}
