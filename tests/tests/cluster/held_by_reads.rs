//! What a statement in a transaction holds on its node until the transaction ends is the same as on one server.

use helios_tests::{BOUND, Bound, Cluster, PlainServer, Wire, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::server::Server;

type Case = fn(&mut Wire);

fn simple(wire: &mut Wire, sql: &str) {
    wire.simple(sql, None).unwrap();
}

fn execute(wire: &mut Wire, sql: &str, rows: i32) {
    wire.parse("", sql, &[]).unwrap();
    wire.bind("p", "", &Bound::default()).unwrap();
    wire.execute("p", rows).unwrap();
}

/// Each runs in a transaction that stays open.
const CASES: [(&str, Case); 14] = [
    ("simple", |wire| simple(wire, "SELECT * FROM held.t")),
    ("one row", |wire| simple(wire, "SELECT * FROM held.t WHERE x = 1")),
    ("extended", |wire| {
        execute(wire, "SELECT * FROM held.t", 0);
        wire.close(b'P', "p").unwrap();
        wire.sync().unwrap();
    }),
    ("prepared", |wire| simple(wire, "PREPARE q AS SELECT * FROM held.t; EXECUTE q; EXECUTE q")),
    ("a part of the rows", |wire| {
        execute(wire, "SELECT * FROM held.t", 3);
        wire.close(b'P', "p").unwrap();
        wire.sync().unwrap();
    }),
    ("an open portal", |wire| {
        execute(wire, "SELECT * FROM held.t", 3);
        wire.sync().unwrap();
    }),
    ("a closed cursor", |wire| {
        simple(wire, "DECLARE c CURSOR FOR SELECT * FROM held.t");
        simple(wire, "FETCH 2 FROM c");
        simple(wire, "CLOSE c");
    }),
    ("an open cursor", |wire| {
        simple(wire, "DECLARE c CURSOR FOR SELECT * FROM held.t");
        simple(wire, "FETCH 2 FROM c");
    }),
    ("a write", |wire| simple(wire, "UPDATE held.t SET x = x WHERE x = 1")),
    ("a write with rows", |wire| simple(wire, "DELETE FROM held.t WHERE x = 2 RETURNING x")),
    ("a savepoint", |wire| {
        simple(wire, "SAVEPOINT a; SELECT * FROM held.t");
        simple(wire, "SELECT 1 / (x - x) FROM held.t");
        simple(wire, "ROLLBACK TO a");
        simple(wire, "SELECT x FROM held.t WHERE x = 3");
    }),
    ("a loop", |wire| {
        let sql =
            "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM held.t LOOP END LOOP; END $$";
        simple(wire, sql);
    }),
    ("a function", |wire| simple(wire, "SELECT held.f()")),
    ("copy", |wire| simple(wire, "COPY held.t TO STDOUT")),
];

/// State, snapshot and locks of the session running a query with this text.
fn held(client: &mut Client, which: &str) -> Option<String> {
    let query = format!(
        "SELECT format('%s, snapshot: %s, locks: %s', state, backend_xmin IS NOT NULL, \
                (SELECT string_agg(DISTINCT format('%s on %s', mode, relation::regclass), ', ' \
                                   ORDER BY format('%s on %s', mode, relation::regclass)) \
                   FROM pg_locks l WHERE l.pid = a.pid AND relation = ANY \
                        (ARRAY['held.t'::regclass, 'held.t_pkey'::regclass]))) \
         FROM pg_stat_activity a WHERE {which}"
    );
    let rows = client.query(&query, &[]).unwrap();
    rows.first().map(|row| row.get(0))
}

fn prepare(server: &Server, distributed: &str) -> Wire {
    let mut wire = Wire::connect(server, DATABASE);
    simple(&mut wire, &format!("CREATE SCHEMA held {distributed}"));
    simple(&mut wire, "CREATE TABLE held.t (x int PRIMARY KEY)");
    simple(&mut wire, "INSERT INTO held.t SELECT generate_series(1, 10)");
    simple(
        &mut wire,
        "CREATE FUNCTION held.f() RETURNS bigint LANGUAGE plpgsql AS \
         'DECLARE n bigint; BEGIN SELECT count(*) INTO n FROM held.t; RETURN n; END'",
    );
    wire
}

#[test]
fn a_transaction_holds_on_its_node_what_it_would_hold_here() {
    let cluster = Cluster::start(1);
    let plain = PlainServer::shared();
    let (mut there, mut here) = (cluster.connect_to_node(1), plain.connect());
    let mut on_node = prepare(cluster.coordinator(), "DISTRIBUTED ON NODE \"node-1\"");
    let mut on_plain = prepare(&plain.server, "");
    for isolation in ["READ COMMITTED", "REPEATABLE READ"] {
        for (name, case) in CASES {
            for wire in [&mut on_node, &mut on_plain] {
                simple(wire, "DEALLOCATE ALL");
                simple(wire, &format!("BEGIN ISOLATION LEVEL {isolation}"));
                case(wire);
            }
            let expected = held(&mut here, &format!("pid = {}", on_plain.pid)).unwrap();
            wait_until(&format!("{name}: the node's session holds {expected}"), BOUND / 4, || {
                let seen = held(&mut there, "state LIKE 'idle in%' AND pid <> pg_backend_pid()");
                if seen.as_deref() == Some(&expected) { Ok(()) } else { Err(format!("{seen:?}")) }
            });
            for wire in [&mut on_node, &mut on_plain] {
                simple(wire, "ROLLBACK");
            }
        }
    }
    // A snapshot would keep this from finishing.
    simple(&mut on_node, "BEGIN; SELECT * FROM held.t");
    there
        .batch_execute("SET helios.migration_session = on; SET statement_timeout = '30s'; CREATE TABLE public.other (x int)")
        .unwrap();
    there.batch_execute("CREATE INDEX CONCURRENTLY ON public.other (x)").unwrap();
    there.batch_execute("DROP TABLE public.other").unwrap();
    simple(&mut on_node, "ROLLBACK");
}
