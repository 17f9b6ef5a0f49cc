//! Schemas of this server become distributed with all their contents, and plain again (`helios_undistribute_schema`).

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

use crate::{
    Opening, SETTINGS, Stop, assert_clean, cluster, cluster_with_failpoints, finish,
    last_migration, node_of, roll_back, shown, switch, text, wait,
};

const LOCAL: &str = "CREATE SCHEMA shop; \
    CREATE TABLE shop.a (id serial PRIMARY KEY, v text); INSERT INTO shop.a (v) SELECT md5(i::text) FROM generate_series(1, 5000) i; \
    CREATE TABLE shop.b (id int PRIMARY KEY, a int REFERENCES shop.a ON DELETE CASCADE); INSERT INTO shop.b SELECT i, i FROM generate_series(1, 100) i; \
    CREATE TABLE shop.nokey (x int); INSERT INTO shop.nokey VALUES (1), (1), (2); CREATE UNLOGGED TABLE shop.u (x int); INSERT INTO shop.u VALUES (7); \
    CREATE VIEW shop.v AS SELECT count(*) FROM shop.a; CREATE FUNCTION shop.f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM shop.b';";

fn local() -> (Cluster, Client) {
    let mut settings = SETTINGS.to_vec();
    settings.push("wal_level = logical");
    let cluster = Cluster::with_settings(2, &settings);
    let mut client = cluster.connect();
    client.batch_execute(LOCAL).unwrap();
    (cluster, client)
}

/// Number of rows in the coordinator's own tables, whether shells or not.
fn rows_here(cluster: &Cluster) -> Vec<String> {
    let mut client = cluster.connect();
    client.batch_execute("SET helios.migration_session = on").unwrap();
    text(
        &mut client,
        "SELECT (SELECT count(*) FROM shop.a), (SELECT count(*) FROM shop.b), (SELECT count(*) FROM shop.nokey), (SELECT count(*) FROM shop.u)",
    )
}

const COUNTS: &str = "SELECT (SELECT count(*) FROM shop.a), (SELECT count(*) FROM shop.b), (SELECT count(*) FROM shop.nokey), (SELECT count(*) FROM shop.u), shop.f(), (SELECT * FROM shop.v)";

#[test]
fn a_schema_with_data_becomes_distributed_while_it_is_written() {
    let (cluster, mut client) = local();
    let (stop, written) = (AtomicBool::new(false), AtomicI64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = cluster.connect();
            while !stop.load(Ordering::Relaxed) {
                client.execute("INSERT INTO shop.a (v) VALUES ('live')", &[]).unwrap();
                written.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        let _stop = Stop(&stop);
        let node = "SELECT helios_distribute_schema('shop', 'node-1')";
        assert_eq!(text(&mut client, node), ["node-1"]);
        let id = last_migration(&mut client);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        assert_eq!(node_of(&mut client, "shop").as_deref(), Some("node-1"));
        finish(&mut client, id);
    });
    let total = 5000 + written.load(Ordering::Relaxed);
    assert_eq!(text(&mut client, COUNTS), [format!("{total}|100|3|1|100|{total}")]);
    // The tables here are shells.
    assert_eq!(rows_here(&cluster), ["0|0|0|0"]);
    assert_clean(&cluster, &["shop"]);
    // And now it is a distributed schema like any other.
    let id = switch(&mut client, "shop", "node-2");
    finish(&mut client, id);
    assert_eq!(text(&mut client, COUNTS), [format!("{total}|100|3|1|100|{total}")]);

    client.batch_execute("SELECT helios_undistribute_schema('shop')").unwrap();
    let id = last_migration(&mut client);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    client.batch_execute("DELETE FROM shop.a WHERE id = 1").unwrap();
    finish(&mut client, id);
    assert_eq!(node_of(&mut client, "shop"), None);
    let left = total - 1;
    assert_eq!(text(&mut client, COUNTS), [format!("{left}|99|3|1|99|{left}")]);
    assert_eq!(rows_here(&cluster), [format!("{left}|99|3|1")]);
    // A plain schema exists on every node.
    for number in 1..=2 {
        let mut node = cluster.connect_to_node(number);
        assert_eq!(
            text(
                &mut node,
                "SELECT count(*) FROM pg_class WHERE relnamespace = 'shop'::regnamespace"
            ),
            ["0"]
        );
    }
    client.batch_execute("CREATE TABLE shop.c (x int); DROP SCHEMA shop CASCADE").unwrap();
}

#[test]
fn what_became_distributed_can_be_taken_back() {
    let (cluster, mut client) = local();
    client.batch_execute("SELECT helios_distribute_schema('shop', 'node-1')").unwrap();
    let id = last_migration(&mut client);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    client.batch_execute("INSERT INTO shop.a (v) VALUES ('there')").unwrap();
    roll_back(&mut client, id);
    assert_eq!(node_of(&mut client, "shop"), None);
    assert_eq!(text(&mut client, COUNTS), ["5001|100|3|1|100|5001"]);
    assert_eq!(rows_here(&cluster), ["5001|100|3|1"]);
    wait_until("the plain schema is on every node again", BOUND, || {
        let there = "SELECT count(*) FROM pg_namespace WHERE nspname = 'shop'";
        let seen: Vec<_> =
            (1..=2).flat_map(|n| text(&mut cluster.connect_to_node(n), there)).collect();
        if seen == ["1", "1"] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    client.batch_execute("ALTER TABLE shop.a ADD COLUMN w int; TRUNCATE shop.u").unwrap();
}

/// Its shells are in use while they are being prepared. Later sessions must not queue behind that.
#[test]
fn nobody_waits_long_while_others_use_the_shells_of_what_comes_home() {
    let cluster = cluster(1);
    let mut client = cluster.connect();
    let mut writer = cluster.connect();
    writer.batch_execute("SET statement_timeout = '5s'").unwrap();
    for (schema, key) in [("t", "PRIMARY KEY"), ("nokey", "")] {
        client
            .batch_execute(&format!(
                "CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE {schema}.a (x int {key}); \
                 CREATE FUNCTION {schema}.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
                 CREATE TRIGGER always AFTER INSERT ON {schema}.a EXECUTE FUNCTION {schema}.f(); \
                 ALTER TABLE {schema}.a ENABLE ALWAYS TRIGGER always"
            ))
            .unwrap();
        let mut long = cluster.connect();
        long.batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM {schema}.a"
        ))
        .unwrap();
        client.batch_execute(&format!("SELECT helios_undistribute_schema('{schema}')")).unwrap();
        let id = last_migration(&mut client);
        // With a key, it gets up to the switch; without, rows are identified by all columns when nobody reads them.
        let words = match key {
            "" => "waiting for transactions that use tables of the schema",
            _ => "on the coordinator that use its schemas",
        };
        let mut number = 0;
        wait_until(words, BOUND, || {
            number += 1;
            writer.batch_execute(&format!("INSERT INTO {schema}.a VALUES ({number})")).unwrap();
            let seen = shown(&mut client, id);
            if seen.contains(words) { Ok(()) } else { Err(seen) }
        });
        long.batch_execute("COMMIT").unwrap();
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        finish(&mut client, id);
    }
}

/// Statements that clients run continuously: they lock tables and use sequences in every order. Each adds two rows to
/// `shop.a`, or none.
const ORDERS: [(&str, i64); 4] = [
    ("INSERT INTO shop.a (v) VALUES ('one'), ('two')", 2),
    (
        "BEGIN; SELECT nextval('shop.a_id_seq'); INSERT INTO shop.a (v) VALUES ('x'); SELECT nextval('shop.a_id_seq'); \
         INSERT INTO shop.a (v) VALUES ('y'); COMMIT",
        2,
    ),
    (
        "BEGIN; INSERT INTO shop.nokey VALUES (1); INSERT INTO shop.a (v) VALUES ('x'), ('y'); COMMIT",
        2,
    ),
    ("SELECT count(*) FROM shop.nokey JOIN shop.b ON b.id = x JOIN shop.a ON a.id = b.a", 0),
];

/// A fence that waits for a session that waits for the fence gives way and is retried, but must not fail every time.
#[test]
fn transactions_that_lock_in_any_order_do_not_keep_a_schema_from_leaving() {
    let (cluster, mut client) = local();
    let (stop, written) = (AtomicBool::new(false), AtomicI64::new(0));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (work, rows) = ORDERS[number % ORDERS.len()];
            let (cluster, stop, written) = (&cluster, &stop, &written);
            scope.spawn(move || {
                let mut client = cluster.connect();
                while !stop.load(Ordering::Relaxed) {
                    client.batch_execute(work).unwrap();
                    written.fetch_add(rows, Ordering::Relaxed);
                }
            });
        }
        let _stop = Stop(&stop);
        client.batch_execute("SELECT helios_distribute_schema('shop', 'node-1')").unwrap();
        let id = last_migration(&mut client);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        finish(&mut client, id);
        client.batch_execute("SELECT helios_undistribute_schema('shop')").unwrap();
        let id = last_migration(&mut client);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        roll_back(&mut client, id);
    });
    assert_eq!(node_of(&mut client, "shop").as_deref(), Some("node-1"));
    let rows = 5000 + written.load(Ordering::Relaxed);
    assert_eq!(text(&mut client, "SELECT count(*) FROM shop.a"), [rows.to_string()]);
}

/// A transaction that has read here in REPEATABLE READ must not read on the node, where newer rows would be visible.
#[test]
fn one_snapshot_is_kept_while_a_schema_becomes_distributed() {
    let (cluster, mut client) = local();
    let mut reader = cluster.connect();
    let count = "SELECT count(*) FROM shop.a";
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    assert_eq!(text(&mut reader, count), ["5000"]);
    client.batch_execute("SELECT helios_distribute_schema('shop', 'node-1')").unwrap();
    let id = last_migration(&mut client);
    wait_until("the switch waits, or is over", BOUND, || {
        let seen = shown(&mut client, id);
        let over = seen.contains("dual_write_back");
        if over || seen.contains("waiting for transactions of processes") {
            Ok(())
        } else {
            Err(seen)
        }
    });
    client.batch_execute("INSERT INTO shop.a (v) VALUES ('later')").unwrap();
    assert_eq!(text(&mut reader, count), ["5000"]);
    reader.batch_execute("COMMIT").unwrap();
    assert_eq!(text(&mut reader, count), ["5001"]);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    assert_eq!(text(&mut reader, count), ["5001"]);
    finish(&mut client, id);
}

/// Sequence values are transferred behind the fence. Sequences of plain schemas are not fenced, and a number drawn
/// here afterwards would be drawn on the node again.
#[test]
fn numbers_drawn_while_a_schema_becomes_distributed_are_drawn_once() {
    let place = "migration.flip.before";
    let cluster =
        cluster_with_failpoints(1, &["helios.max_switch_stall = '60s'", "wal_level = logical"]);
    let mut client = cluster.connect();
    client.batch_execute(LOCAL).unwrap();
    let draws = [
        "SELECT nextval('shop.a_id_seq')",
        "EXECUTE kept",
        "SELECT nextval(name) FROM (VALUES ('shop.a_id_seq')) AS v (name)",
    ];
    let mut sessions: Vec<Client> = draws.iter().map(|_| cluster.connect()).collect();
    for session in &mut sessions {
        let prepare = "SET plan_cache_mode = force_generic_plan; \
            PREPARE kept AS SELECT nextval('shop.a_id_seq'); EXECUTE kept";
        session.batch_execute(prepare).unwrap();
    }
    cluster.failpoint(place, "hang", 0, 0);
    client.batch_execute("SELECT helios_distribute_schema('shop', 'node-1')").unwrap();
    let id = last_migration(&mut client);
    cluster.wait_for_failpoint(place, BOUND);
    let mut numbers = std::thread::scope(|scope| {
        let each = sessions.iter_mut().zip(draws);
        let drawn: Vec<_> = each.map(|(s, draw)| scope.spawn(move || text(s, draw))).collect();
        let open = Opening(&cluster, place);
        wait_until("all wait, or have their number", BOUND, || {
            let query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'object'";
            let seen: usize = text(&mut client, query)[0].parse().unwrap();
            let done = drawn.iter().filter(|one| one.is_finished()).count();
            if seen + done == draws.len() { Ok(()) } else { Err(format!("{seen}, {done}")) }
        });
        drop(open);
        drawn.into_iter().flat_map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    for session in &mut sessions {
        numbers.extend(text(session, draws[0]));
    }
    let mut different = numbers.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), numbers.len(), "{numbers:?}");
    finish(&mut client, id);
}
