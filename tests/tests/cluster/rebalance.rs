//! Plans, their execution, drains, moves by pattern, and automatic rebalancing.

use std::time::Duration;

use helios_tests::{Cluster, wait_until};
use postgres::Client;

/// Timeout for moves of whole shards on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

fn number(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
}

fn numbers(client: &mut Client, sql: &str) -> Vec<i64> {
    let rows = client.query(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

fn text(client: &mut Client, sql: &str) -> String {
    client.query_one(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
}

/// Creates a tenant of about this many kilobytes in its own shard.
fn tenant(client: &mut Client, name: &str, node: &str, kilobytes: u32) {
    let sql = format!(
        "CREATE SCHEMA {name} DISTRIBUTED ON NODE \"{node}\"; CREATE TABLE {name}.t (i int PRIMARY KEY, x text); \
         ALTER TABLE {name}.t ALTER x SET STORAGE PLAIN; \
         INSERT INTO {name}.t SELECT i, repeat('x', 1000) FROM generate_series(1, {kilobytes}) i"
    );
    client.batch_execute(&sql).unwrap();
}

/// Waits until these migrations have switched; fails with the error of the first one that failed.
fn switched(client: &mut Client, ids: &[i64]) {
    let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let states = format!(
        "SELECT coalesce(string_agg(concat_ws(' ', id, state, error), '; ' ORDER BY id), '') FROM helios_migrations \
         WHERE id IN ({list}) AND state NOT IN ('dual_write_back', 'finished')"
    );
    wait_until("all migrations have switched", LONG, || {
        let open = text(client, &states);
        assert!(!open.contains("failed"), "{open}");
        if open.is_empty() { Ok(()) } else { Err(open) }
    });
}

/// Like [`switched`], and finishes the migrations.
fn finished(client: &mut Client, ids: &[i64]) {
    switched(client, ids);
    for id in ids {
        client.batch_execute(&format!("SELECT helios_finish_migration({id})")).unwrap();
    }
    let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let states = format!(
        "SELECT coalesce(string_agg(concat_ws(' ', id, state, error), '; ' ORDER BY id), '') FROM helios_migrations \
         WHERE id IN ({list}) AND state <> 'finished'"
    );
    wait_until("all migrations are finished", LONG, || {
        let open = text(client, &states);
        if open.is_empty() { Ok(()) } else { Err(open) }
    });
}

const PLAN: &str = "SELECT coalesce(string_agg(concat_ws(' ', shard, source, target), ';' ORDER BY step), '') \
                    FROM helios_rebalance_plan()";

#[test]
fn rebalance_does_what_its_plan_says() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    for i in 0..12 {
        let node = if i < 9 { "node-1" } else { "node-2" };
        tenant(&mut client, &format!("b{i}"), node, 200);
    }
    client.batch_execute("SET helios.max_movement = 0.3").unwrap();
    let plan = text(&mut client, PLAN);
    let steps = plan.split(';').count();
    assert_eq!(steps, 3, "9:3 becomes 6:6: {plan}");
    assert_eq!(plan, text(&mut client, PLAN), "planning changes nothing");
    let row = client
        .query_one("SELECT verdict, moves, bytes, waves, fullest_before, fullest_after, too_big FROM helios_balance()", &[])
        .unwrap();
    assert_eq!(
        (row.get::<_, &str>(0), row.get::<_, i64>(1), row.get::<_, i32>(3)),
        ("worthwhile", 3, 1)
    );
    assert!(row.get::<_, f64>(4) > 1.4 && row.get::<_, f64>(5) < 1.05, "{row:?}");
    let ids = numbers(&mut client, "SELECT helios_rebalance()");
    let started = format!(
        "SELECT string_agg(concat_ws(' ', m.shard, m.source, m.target), ';' ORDER BY o) FROM helios_migrations m \
         JOIN unnest('{{{}}}'::bigint[]) WITH ORDINALITY AS u(id, o) USING (id)",
        ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
    );
    assert_eq!(text(&mut client, &started), plan);
    finished(&mut client, &ids);
    let on = "SELECT count(*) FROM helios_schemas WHERE schema LIKE 'b%' AND node = 'node-2'";
    assert_eq!(number(&mut client, on), 6);
    for i in 0..12 {
        assert_eq!(number(&mut client, &format!("SELECT count(*) FROM b{i}.t")), 200);
    }
    assert_eq!(text(&mut client, "SELECT verdict FROM helios_balance()"), "even");
    assert_eq!(numbers(&mut client, "SELECT helios_rebalance()"), Vec::<i64>::new());
}

#[test]
fn budget_and_large_shards_are_heeded() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    tenant(&mut client, "huge", "node-1", 3000);
    for i in 0..10 {
        tenant(&mut client, &format!("s{i}"), "node-1", 100);
    }
    let huge = number(&mut client, "SELECT shard FROM helios_schemas WHERE schema = 'huge'");
    let row =
        client.query_one("SELECT too_big, moves, waves, bytes FROM helios_balance()", &[]).unwrap();
    assert_eq!(row.get::<_, Vec<i64>>(0), vec![huge]);
    assert!(row.get::<_, i64>(1) > 0 && row.get::<_, i32>(2) >= 2, "{row:?}");
    let total = number(&mut client, "SELECT size FROM helios_cluster_stats()");
    assert!(row.get::<_, i64>(3) <= total / 10, "{row:?} of {total}");
    let moved = "SELECT count(*) FROM helios_rebalance_plan() WHERE shard = ";
    assert_eq!(number(&mut client, &format!("{moved}{huge}")), 0, "it is not shuffled");
    client.batch_execute("SET helios.min_improvement = 5").unwrap();
    assert_eq!(text(&mut client, "SELECT verdict FROM helios_balance()"), "too little to gain");
    assert_eq!(text(&mut client, PLAN), "");
}

#[test]
fn drained_node_can_be_removed() {
    let cluster = Cluster::with_settings(2, &["helios.rollback_window = 0"]);
    let mut client = cluster.connect();
    for i in 0..4 {
        tenant(&mut client, &format!("d{i}"), "node-1", 50);
    }
    client
        .batch_execute("CREATE SCHEMA pooled DISTRIBUTED; CREATE TABLE pooled.t (x int)")
        .unwrap();
    numbers(&mut client, "SELECT helios_drain_node('node-1')");
    let empty = "SELECT count(*) FROM helios_shards WHERE node = 'node-1' AND schemas = 0";
    assert_eq!(number(&mut client, empty), 0, "shards without schemas leave at once");
    client.batch_execute("CREATE SCHEMA late DISTRIBUTED").unwrap();
    assert_eq!(text(&mut client, "SELECT helios_node_for_schema('late')"), "node-2");
    // the worker starts the later waves
    let left = "SELECT coalesce(string_agg(concat_ws(' ', s.id, s.state, m.state, m.error), '; '), '') \
                FROM helios_shards s LEFT JOIN helios_migrations m ON m.shard = s.id WHERE s.node = 'node-1'";
    wait_until("the node is empty", LONG, || {
        let left = text(&mut client, left);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    let open = "SELECT coalesce(string_agg(concat_ws(' ', id, state, error), '; '), '') FROM helios_migrations WHERE state <> 'finished'";
    wait_until("all migrations are finished", LONG, || {
        let open = text(&mut client, open);
        if open.is_empty() { Ok(()) } else { Err(open) }
    });
    for i in 0..4 {
        assert_eq!(number(&mut client, &format!("SELECT count(*) FROM d{i}.t")), 50);
    }
    client.batch_execute("SELECT helios_remove_node('node-1')").unwrap();
}

#[test]
fn drain_can_be_taken_back() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    numbers(&mut client, "SELECT helios_drain_node('node-1')");
    assert_eq!(number(&mut client, "SELECT count(*) FROM helios_shards WHERE node = 'node-1'"), 0);
    client.batch_execute("SELECT helios_undrain_node('node-1')").unwrap();
    assert!(number(&mut client, "SELECT count(*) FROM helios_shards WHERE node = 'node-1'") > 16);
    assert_eq!(text(&mut client, "SELECT state FROM helios_nodes WHERE name = 'node-1'"), "online");
}

#[test]
fn schemas_are_moved_by_pattern() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    for (name, node) in
        [("app_1", "node-1"), ("app_2", "node-1"), ("web_1", "node-1"), ("app_3", "node-2")]
    {
        tenant(&mut client, name, node, 20);
    }
    client
        .batch_execute(
            "CREATE SCHEMA \"app_p{k}\" DISTRIBUTED; CREATE SCHEMA \"web_p{k}\" DISTRIBUTED",
        )
        .unwrap();
    let home = text(&mut client, "SELECT helios_node_for_schema('app_p{k}')");
    let ids = numbers(&mut client, "SELECT helios_migrate('node-1', 'node-2', 'app\\_%')");
    assert_eq!(ids.len(), if home == "node-1" { 3 } else { 2 });
    switched(&mut client, &ids);
    let places = "SELECT string_agg(concat_ws(' ', schema, node), ',' ORDER BY schema) FROM helios_schemas \
                  WHERE schema ~ '^(app|web)_[0-9]'";
    assert_eq!(text(&mut client, places), "app_1 node-2,app_2 node-2,app_3 node-2,web_1 node-1");
    assert_eq!(
        text(&mut client, "SELECT helios_node_for_schema('web_p{k}')"),
        home,
        "its neighbour stays"
    );
}

#[test]
fn merge_over_nodes_moves_the_smaller_first() {
    let cluster = Cluster::with_settings(2, &["helios.rollback_window = 0"]);
    let mut client = cluster.connect();
    let pair = "SELECT a.slot_from, b.slot_from, a.shard, b.shard FROM helios_slots a \
                JOIN helios_slots b ON b.slot_from = a.slot_to + 1 WHERE a.node <> b.node ORDER BY 1 LIMIT 1";
    let row = client.query_one(pair, &[]).unwrap();
    let (a, b): (i64, i64) = (row.get(2), row.get(3));
    let (slot_a, slot_b): (i32, i32) = (row.get(0), row.get(1));
    // one schema in each: find the keys by trying
    for (name, slot, rows) in [("small", slot_a, 10), ("large", slot_b, 2000)] {
        let key = "SELECT 'k' || i FROM generate_series(1, 100000) i WHERE helios_key_slot('k' || i) BETWEEN $1 AND $1 + 255 LIMIT 1";
        let key: String = client.query_one(key, &[&slot]).unwrap().get(0);
        let sql = format!(
            "CREATE SCHEMA {name} DISTRIBUTED WITH (key = '{key}'); CREATE TABLE {name}.t AS SELECT generate_series(1, {rows}) AS x"
        );
        client.batch_execute(&sql).unwrap();
    }
    let row = client.query_one("SELECT * FROM helios_merge_shards($1, $2)", &[&a, &b]).unwrap();
    let (left, migration): (i64, Option<i64>) = (row.get(0), row.get(1));
    assert_eq!(left, b, "the larger one stays");
    assert!(migration.is_some());
    wait_until("the shards are one", LONG, || {
        let seen = text(
            &mut client,
            "SELECT coalesce(string_agg(concat_ws(' ', id, state, error), '; '), '') || ' shards ' || \
             (SELECT count(*) FROM helios_shards) FROM helios_migrations",
        );
        if seen.ends_with(" 63") { Ok(()) } else { Err(seen) }
    });
    let together =
        "SELECT count(DISTINCT shard) FROM helios_schemas WHERE schema IN ('small', 'large')";
    assert_eq!(number(&mut client, together), 1);
    assert_eq!(number(&mut client, "SELECT count(*) FROM small.t"), 10);
    assert_eq!(number(&mut client, "SELECT count(*) FROM helios.merge"), 0);
}

/// After a node is added, the cluster rebalances by itself.
#[test]
fn cluster_balances_itself() {
    let settings = [
        "helios.auto_rebalance = on",
        "helios.rebalance_interval = 1s",
        "helios.rollback_window = 0",
        "helios.max_movement = 0.5",
    ];
    let cluster = Cluster::with_settings(2, &settings);
    let mut client = cluster.connect();
    for i in 0..8 {
        tenant(&mut client, &format!("a{i}"), "node-1", 100);
    }
    let counts = "SELECT count(*) FILTER (WHERE node = 'node-1') || ':' || count(*) FILTER (WHERE node = 'node-2') FROM helios_schemas";
    wait_until("the tenants are spread", LONG, || {
        let seen = text(&mut client, counts);
        let moves = text(
            &mut client,
            "SELECT coalesce(string_agg(concat_ws(' ', id, state, error), '; '), '') FROM helios_migrations",
        );
        if seen == "4:4" { Ok(()) } else { Err(format!("{seen} {moves}")) }
    });
}

#[test]
fn bad_input_for_balance_is_refused() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    let cases = [
        ("SELECT helios_drain_node('nowhere')", "42704", "nowhere"),
        ("SELECT helios_drain_node(NULL)", "22004", "name"),
        ("SELECT helios_drain_node('coordinator')", "55000", "coordinator cannot be drained"),
        ("SELECT helios_drain_node('node-1')", "55000", "No other node"),
        ("SELECT helios_undrain_node('node-1')", "55000", "not draining"),
        ("SELECT helios_migrate('nowhere', 'node-1')", "42704", "nowhere"),
        ("SELECT helios_migrate('node-1', 'nowhere')", "42704", "nowhere"),
        ("SELECT helios_migrate('node-1', 'coordinator', 'x%')", "3F000", "x%"),
        ("SELECT helios_migrate('node-1', NULL)", "22004", "target"),
        ("SELECT helios_migrate('node-1', 'coordinator', NULL)", "22004", "pattern"),
        ("SET helios.max_movement = 2", "22023", "max_movement"),
    ];
    for (sql, code, word) in cases {
        let error = match client.simple_query(sql) {
            Ok(_) => panic!("{sql}: no error"),
            Err(error) => error,
        };
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
        let said = format!(
            "{} {} {}",
            error.message(),
            error.detail().unwrap_or_default(),
            error.hint().unwrap_or_default()
        );
        assert!(
            error.code().code() == code && said.contains(word),
            "{sql}: {error:?}, expected {code} {word}"
        );
    }
    // an unreachable node is left as it is
    client
        .batch_execute(
            "CREATE ROLE nobody LOGIN; CREATE SCHEMA x DISTRIBUTED; CREATE TABLE x.t (i int)",
        )
        .unwrap();
    cluster.kill_node(1);
    assert_eq!(text(&mut client, PLAN), "");
    let mut nobody = cluster.connect_as("nobody");
    for sql in [
        "SELECT helios_rebalance()",
        "SELECT * FROM helios_rebalance_plan()",
        "SELECT helios_drain_node('node-1')",
        "SELECT helios_migrate('node-1', 'coordinator')",
    ] {
        assert_eq!(nobody.batch_execute(sql).unwrap_err().code().unwrap().code(), "42501", "{sql}");
    }
}

/// A shard that holds nearly everything is split at half its bytes, and two empty ones are merged, so
/// that the number of shards stays the same.
#[test]
fn shards_are_split_and_merged_by_themselves() {
    let settings = [
        "helios.auto_rebalance = on",
        "helios.rebalance_interval = 1h",
        "helios.statistics_interval = 300ms",
        "helios.split_delay = 1s",
        "helios.merge_delay = 1s",
    ];
    let cluster = Cluster::with_settings(1, &settings);
    let mut client = cluster.connect();
    let keys = "SELECT 'k' || i FROM generate_series(1, 100000) i WHERE helios_key_slot('k' || i) BETWEEN 512 AND 767 LIMIT 2";
    let keys: Vec<String> = client.query(keys, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    for (name, key) in ["one", "two"].into_iter().zip(&keys) {
        let sql = format!(
            "CREATE SCHEMA {name} DISTRIBUTED WITH (key = '{key}'); CREATE TABLE {name}.t AS SELECT generate_series(1, 5000) AS x"
        );
        client.batch_execute(&sql).unwrap();
    }
    wait_until("the shard is split and two others are merged", LONG, || {
        let apart = number(
            &mut client,
            "SELECT count(DISTINCT shard) FROM helios_schemas WHERE schema IN ('one', 'two')",
        );
        let shards = number(&mut client, "SELECT count(*) FROM helios_shards");
        let highest = number(&mut client, "SELECT max(id) FROM helios_shards");
        let seen = format!("{apart} shards for two schemas, {shards} shards, highest {highest}");
        if (apart, shards) == (2, 64) { Ok(()) } else { Err(seen) }
    });
    for name in ["one", "two"] {
        assert_eq!(number(&mut client, &format!("SELECT count(*) FROM {name}.t")), 5000);
    }
}
