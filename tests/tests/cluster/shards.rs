//! Shards are split, merged and assigned to nodes with SQL.

use helios_tests::{BOUND, Cluster, Stop, wait_until};
use postgres::Client;

fn number(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
}

fn numbers(client: &mut Client, sql: &str) -> Vec<i64> {
    let rows = client.query(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Asserts that every schema is in the pooled shard determined by its key, and that every slot has one shard for each key.
fn check(client: &mut Client) {
    let wrong = "SELECT count(*) FROM helios.schema c JOIN helios.shard s ON s.id = c.shard \
         WHERE s.kind = 'pooled' AND NOT (int4range(slot_from, slot_to) @> helios_key_slot(c.key) \
                                          AND helios.key_range(key_from, key_to) @> c.key)";
    assert_eq!(number(client, wrong), 0, "schemas outside the bounds of their shards");
    let gaps = "SELECT count(*) FROM generate_series(0, 16383) AS slot, unnest('{\"\",a,m,zz}'::text[]) AS k(key) \
         WHERE (SELECT count(*) FROM helios.shard WHERE kind = 'pooled' AND int4range(slot_from, slot_to) @> slot \
                AND helios.key_range(key_from, key_to) @> key) <> 1";
    assert_eq!(number(client, gaps), 0, "places without exactly one shard");
}

fn refused(client: &mut Client, sql: &str) -> (String, String) {
    match client.query(sql, &[]) {
        Ok(rows) => panic!("{sql}: no error, {} rows", rows.len()),
        Err(error) => {
            let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
            let hint = error.hint().unwrap_or_default();
            assert!(!hint.is_empty(), "{sql}: no hint in {error:?}");
            let text = format!("{} {} {hint}", error.message(), error.detail().unwrap_or_default());
            (error.code().code().to_owned(), text)
        }
    }
}

#[test]
fn split_keeps_schemas_where_their_keys_say() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    for i in 0..200 {
        let sql = format!("CREATE SCHEMA s{i} DISTRIBUTED; CREATE TABLE s{i}.t AS SELECT {i} AS x");
        if i < 20 {
            client.batch_execute(&sql).unwrap();
        } else {
            client.batch_execute(&format!("CREATE SCHEMA s{i} DISTRIBUTED")).unwrap();
        }
    }
    client.batch_execute("CREATE SCHEMA named DISTRIBUTED WITH (key = 's5')").unwrap();
    client.batch_execute("ALTER SCHEMA s7 RENAME TO renamed").unwrap();
    let before = numbers(&mut client, "SELECT id FROM helios_shards ORDER BY id");
    let nodes = "SELECT string_agg(schema || node, ',' ORDER BY schema) FROM helios_schemas";
    let homes: String = client.query_one(nodes, &[]).unwrap().get(0);
    for shard in &before {
        let new = number(&mut client, &format!("SELECT helios_split_shard({shard})"));
        assert!(!before.contains(&new));
    }
    check(&mut client);
    assert_eq!(number(&mut client, "SELECT count(*) FROM helios_shards"), 128);
    assert_eq!(client.query_one(nodes, &[]).unwrap().get::<_, String>(0), homes, "nobody moved");
    for i in (0..20).filter(|i| *i != 7) {
        assert_eq!(
            client.query_one(&format!("SELECT x FROM s{i}.t"), &[]).unwrap().get::<_, i32>(0),
            i
        );
    }
    let together =
        "SELECT count(DISTINCT shard) FROM helios_schemas WHERE schema IN ('named', 's5')";
    assert_eq!(number(&mut client, together), 1);
    // at a given point, by slot and by key, and by bytes
    let shard = number(&mut client, "SELECT shard FROM helios_slots WHERE slot_from = 0");
    let last = number(
        &mut client,
        &format!("SELECT slot_to::bigint FROM helios_slots WHERE shard = {shard}"),
    );
    let new = number(&mut client, &format!("SELECT helios_split_shard({shard}, '{last}')"));
    let single = number(
        &mut client,
        &format!(
            "SELECT shard FROM helios_slots WHERE slot_from = {last} AND shard IN ({shard}, {new})"
        ),
    );
    number(&mut client, &format!("SELECT helios_split_shard({single}, 'key:m')"));
    check(&mut client);
    let two = "SELECT shard FROM helios_schemas JOIN helios_shards s ON s.id = shard \
               WHERE schema IN (SELECT 's' || i FROM generate_series(0, 19) i) \
               GROUP BY shard HAVING count(*) >= 2 LIMIT 1";
    if let Some(&shard) = numbers(&mut client, two).first() {
        number(&mut client, &format!("SELECT helios_split_shard({shard}, 'bytes')"));
        check(&mut client);
    }
}

#[test]
fn random_operations_keep_the_space_covered() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    for i in 0..60 {
        client.batch_execute(&format!("CREATE SCHEMA r{i} DISTRIBUTED")).unwrap();
    }
    // a reproducible random sequence: operations that happen to be impossible are refused and change nothing
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    let (mut done, mut not) = (0, 0);
    for _ in 0..150 {
        let shards = numbers(
            &mut client,
            "SELECT id FROM helios_shards ORDER BY slot_from, key_from NULLS FIRST",
        );
        let at = random(shards.len() as u64) as usize;
        let (shard, next) = (shards[at], shards[(at + 1) % shards.len()]);
        let sql = match random(5) {
            0 => format!("SELECT helios_split_shard({shard})"),
            1 => format!("SELECT helios_split_shard({shard}, 'slot:{}')", random(16384)),
            2 => format!("SELECT helios_split_shard({shard}, 'key:r{}')", random(60)),
            3 => format!("SELECT * FROM helios_merge_shards({shard}, {next})"),
            _ => {
                let from = random(16384);
                let to = (from + random(600)).min(16383);
                format!("SELECT helios_assign_slots({from}, {to}, 'node-{}')", random(2) + 1)
            }
        };
        match client.query(&sql, &[]) {
            Ok(_) => done += 1,
            Err(error) => {
                let code = error.code().unwrap_or_else(|| panic!("{sql}: {error}")).code();
                assert!(["22023", "55000", "0A000", "55006"].contains(&code), "{sql}: {error:?}");
                not += 1;
            }
        }
    }
    check(&mut client);
    assert!(done > 30 && not > 0, "{done} done, {not} refused");
}

#[test]
fn merge_joins_neighbours() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    for i in 0..30 {
        client.batch_execute(&format!("CREATE SCHEMA m{i} DISTRIBUTED")).unwrap();
    }
    let pair = "SELECT a.shard, b.shard FROM helios_slots a JOIN helios_slots b ON b.slot_from = a.slot_to + 1 \
                WHERE a.node = b.node ORDER BY 1 LIMIT 1";
    let row = client.query_one(pair, &[]).unwrap();
    let (a, b): (i64, i64) = (row.get(0), row.get(1));
    let row = client.query_one("SELECT * FROM helios_merge_shards($1, $2)", &[&a, &b]).unwrap();
    let (left, migration): (i64, Option<i64>) = (row.get(0), row.get(1));
    assert!(left == a || left == b);
    assert_eq!(migration, None);
    check(&mut client);
    assert_eq!(number(&mut client, "SELECT count(*) FROM helios_shards"), 63);
    // an empty one moves to the other's node immediately
    let pair = "SELECT a.shard, b.shard FROM helios_slots a JOIN helios_slots b ON b.slot_from = a.slot_to + 1 \
                JOIN helios_shards s ON s.id = b.shard WHERE a.node <> b.node AND s.schemas = 0 LIMIT 1";
    if let Some(row) = client.query_opt(pair, &[]).unwrap() {
        let (a, b): (i64, i64) = (row.get(0), row.get(1));
        client.query_one("SELECT * FROM helios_merge_shards($1, $2)", &[&b, &a]).unwrap();
        check(&mut client);
    }
}

#[test]
fn empty_slots_are_assigned_by_the_directory_alone() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    assert_eq!(
        numbers(&mut client, "SELECT helios_assign_slots(100, 9999, 'node-2')"),
        Vec::<i64>::new()
    );
    let wrong = "SELECT count(*) FROM helios_slots WHERE slot_from < 10000 AND slot_to >= 100 \
                 AND (node <> 'node-2' OR slot_from < 100 OR slot_to > 9999)";
    let borders = "SELECT count(*) FROM helios_slots WHERE (slot_from < 100 AND slot_to >= 100) \
                   OR (slot_from < 10000 AND slot_to >= 10000)";
    let on_other = "SELECT count(*) FROM helios_slots WHERE slot_from >= 100 AND slot_to <= 9999 AND node <> 'node-2'";
    assert_eq!(number(&mut client, on_other), 0);
    // a shard that is on node-2 already is not split
    let cut = number(&mut client, wrong) + number(&mut client, borders);
    assert!(cut <= 4, "{cut}");
    check(&mut client);
    client.batch_execute("CREATE SCHEMA foo DISTRIBUTED").unwrap(); // slot 12182
    numbers(&mut client, "SELECT helios_assign_slots(12182, 12182, 'node-1')");
}

#[test]
fn bad_input_for_shards_is_refused() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA alone DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA x DISTRIBUTED",
        )
        .unwrap();
    let dedicated = number(&mut client, "SELECT shard FROM helios_schemas WHERE schema = 'alone'");
    let first = number(&mut client, "SELECT shard FROM helios_slots WHERE slot_from = 0");
    let third = number(&mut client, "SELECT shard FROM helios_slots WHERE slot_from = 512");
    let cases: Vec<(String, &str, &str)> = vec![
        ("SELECT helios_split_shard(999999)".into(), "42704", "999999"),
        ("SELECT helios_split_shard(NULL)".into(), "22004", "shard"),
        (format!("SELECT helios_split_shard({first}, NULL)"), "22004", "at"),
        (format!("SELECT helios_split_shard({dedicated})"), "42809", "dedicated"),
        (format!("SELECT helios_split_shard({first}, '0')"), "22023", "slots 0 to 255"),
        (format!("SELECT helios_split_shard({first}, '256')"), "22023", "slots 0 to 255"),
        (format!("SELECT helios_split_shard({first}, '99999')"), "22023", "99999"),
        (format!("SELECT helios_split_shard({first}, 'slot:x')"), "22023", "\"x\""),
        (format!("SELECT helios_split_shard({first}, 'nonsense')"), "22023", "nonsense"),
        (format!("SELECT helios_split_shard({first}, '')"), "22023", ""),
        (format!("SELECT helios_split_shard({first}, 'load')"), "55000", "load"),
        (format!("SELECT helios_split_shard({first}, 'bytes')"), "55000", "bytes"),
        (format!("SELECT helios_merge_shards({first}, {first})"), "22023", "itself"),
        (format!("SELECT helios_merge_shards({first}, {third})"), "22023", "adjacent"),
        (format!("SELECT helios_merge_shards({first}, {dedicated})"), "42809", "dedicated"),
        (format!("SELECT helios_merge_shards({first}, 999999)"), "42704", "999999"),
        (format!("SELECT helios_merge_shards({first}, NULL)"), "22004", "other"),
        ("SELECT helios_assign_slots(0, 16384, 'node-1')".into(), "22023", "16384"),
        ("SELECT helios_assign_slots(-1, 5, 'node-1')".into(), "22023", "-1"),
        ("SELECT helios_assign_slots(7, 5, 'node-1')".into(), "22023", "7 to 5"),
        ("SELECT helios_assign_slots(0, 5, 'nowhere')".into(), "42704", "nowhere"),
        ("SELECT helios_assign_slots(0, 5, NULL)".into(), "22004", "node"),
        ("SELECT helios_reset_statistics('nothing_there')".into(), "3F000", "nothing_there"),
    ];
    let state = "SELECT string_agg(s::text, ';' ORDER BY id) FROM helios.shard s";
    let before: String = client.query_one(state, &[]).unwrap().get(0);
    for (sql, code, word) in &cases {
        let (found, text) = refused(&mut client, sql);
        assert!(
            found == *code && text.contains(word),
            "{sql}: {found} {text}, expected {code} {word}"
        );
    }
    assert_eq!(client.query_one(state, &[]).unwrap().get::<_, String>(0), before);
    client.batch_execute(&format!(
        "INSERT INTO helios.migration (shard, schemas, source, target) VALUES ({first}, '{{}}', 1, 0), \
         ({third}, '{{x}}', 1, 0)"
    )).unwrap();
    let of_x = number(&mut client, "SELECT shard FROM helios_schemas WHERE schema = 'x'");
    for shard in [first, of_x] {
        let (code, text) = refused(&mut client, &format!("SELECT helios_split_shard({shard})"));
        assert!(code == "55006" && text.contains("migration"), "{code} {text}");
    }
    client.batch_execute("DELETE FROM helios.migration; CREATE ROLE nobody LOGIN").unwrap();
    let mut nobody = cluster.connect_as("nobody");
    for sql in [
        "SELECT helios_split_shard(1)",
        "SELECT helios_merge_shards(1, 2)",
        "SELECT helios_assign_slots(0, 1, 'node-1')",
    ] {
        let error = nobody.batch_execute(sql).unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
    }
    nobody
        .batch_execute("SELECT * FROM helios_shards; SELECT * FROM helios_schema_statistics")
        .unwrap();
}

/// A statement that waited for a shard's lock while the shard was split or merged continues in the new shard.
#[test]
fn statements_do_not_notice_a_split() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA busy DISTRIBUTED; CREATE TABLE busy.t (x int); INSERT INTO busy.t VALUES (0)").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let mut client = cluster.connect();
                let stop = &stop;
                scope.spawn(move || {
                    let mut done = 0i64;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        client.execute("UPDATE busy.t SET x = x + 1", &[]).unwrap();
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let halt = Stop(&stop);
        for _ in 0..6 {
            let shard =
                number(&mut client, "SELECT shard FROM helios_schemas WHERE schema = 'busy'");
            let new = number(&mut client, &format!("SELECT helios_split_shard({shard})"));
            number(
                &mut client,
                &format!("SELECT shard_left FROM helios_merge_shards({shard}, {new})"),
            );
            let shard =
                number(&mut client, "SELECT shard FROM helios_schemas WHERE schema = 'busy'");
            number(&mut client, &format!("SELECT helios_split_shard({shard})"));
        }
        drop(halt);
        let done: i64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        let counted = number(&mut client, "SELECT x::bigint FROM busy.t");
        assert_eq!(counted, done);
    });
    check(&mut client);
}

/// An operation that waits for a shard in use gives up soon, and does not block others for long.
#[test]
fn split_of_a_shard_in_use_gives_up() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA held DISTRIBUTED; CREATE TABLE held.t (x int)").unwrap();
    let shard = number(&mut client, "SELECT shard FROM helios_schemas WHERE schema = 'held'");
    let mut holder = cluster.connect();
    holder.batch_execute("BEGIN; SELECT * FROM held.t").unwrap();
    let sql = format!("SELECT helios_split_shard({shard})");
    let (code, text) = refused(&mut client, &sql);
    assert!(code == "55P03" && text.contains(&shard.to_string()), "{code} {text}");
    // also if the error is caught, the session continues as before
    let caught = format!(
        "DO $$ BEGIN PERFORM helios_split_shard({shard}); EXCEPTION WHEN lock_not_available THEN NULL; END $$"
    );
    client.batch_execute(&caught).unwrap();
    holder.batch_execute("COMMIT").unwrap();
    number(&mut client, &sql);
    check(&mut client);
}

#[test]
fn statements_are_counted_by_schema() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client.batch_execute(
        "CREATE SCHEMA counted DISTRIBUTED; CREATE TABLE counted.t (x int PRIMARY KEY, y text); \
         INSERT INTO counted.t SELECT i, repeat('y', 100) FROM generate_series(1, 1000) i",
    ).unwrap();
    client.batch_execute("SELECT helios_reset_statistics()").unwrap();
    for _ in 0..10 {
        client.query("SELECT * FROM counted.t WHERE x <= 50", &[]).unwrap();
    }
    client.batch_execute("UPDATE counted.t SET y = '' WHERE x > 900").unwrap();
    client.batch_execute("INSERT INTO counted.t VALUES (1, 'twice')").unwrap_err();
    client.batch_execute("DO $$ DECLARE r record; BEGIN FOR r IN SELECT x FROM counted.t WHERE x <= 7 LOOP END LOOP; END $$").unwrap();
    let row = client.query_one("SELECT calls, rows, bytes, time_ms, errors FROM helios_schema_statistics WHERE schema = 'counted'", &[]).unwrap();
    let (calls, rows, bytes): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((calls, rows), (12, 500 + 100 + 7));
    assert!(bytes > 500 * 100 && bytes < 500 * 130, "{bytes}");
    assert!(row.get::<_, f64>(3) > 0.0);
    assert_eq!(row.get::<_, i64>(4), 1);
    let mut other = cluster.connect();
    other.query("SELECT 1 FROM counted.t LIMIT 1", &[]).unwrap();
    let shard = number(&mut client, "SELECT shard FROM helios_schemas WHERE schema = 'counted'");
    assert_eq!(
        number(&mut client, &format!("SELECT calls FROM helios_shard_statistics({shard})")),
        13
    );
    assert!(number(&mut client, "SELECT calls FROM helios_cluster_stats()") >= 13);
    assert!(
        client.query_opt("SELECT * FROM helios_shard_statistics(99999)", &[]).unwrap().is_none()
    );
    assert!(number(&mut client, "SELECT helios_measure_sizes()") >= 1);
    let there = cluster
        .connect_to_node(1)
        .query_one("SELECT pg_total_relation_size('counted.t')", &[])
        .unwrap();
    let size: i64 =
        number(&mut client, "SELECT size FROM helios_schema_statistics WHERE schema = 'counted'");
    assert_eq!(size, there.get::<_, i64>(0));
    assert_eq!(
        number(&mut client, &format!("SELECT bytes FROM helios_shards WHERE id = {shard}")),
        size
    );
    client.batch_execute("SELECT helios_reset_statistics('counted')").unwrap();
    assert_eq!(
        number(&mut client, "SELECT calls FROM helios_schema_statistics WHERE schema = 'counted'"),
        0
    );
    // an unreachable node is named, and does not make anybody wait
    cluster.kill_node(1);
    wait_until("the sizes are asked in vain", BOUND, || {
        match client.query_one("SELECT helios_measure_sizes()", &[]) {
            Ok(row) if row.get::<_, i64>(0) == 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
