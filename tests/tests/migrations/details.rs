//! Minor properties that a move must preserve.

use std::sync::atomic::{AtomicBool, Ordering};

use helios_tests::{BOUND, Stop, wait_until};

use crate::{
    assert_clean, cluster, cluster_with_failpoints, finish, go_on, last_migration, node_of,
    roll_back, shown, switch, text, wait,
};

/// setval(…, false) sets where a sequence starts; pg_sequences does not show that.
#[test]
fn a_sequence_that_was_set_and_not_used_keeps_its_position() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id serial PRIMARY KEY, v text);
             SELECT setval('t.a_id_seq', 5001, false); CREATE SEQUENCE t.restarted START 7; ALTER SEQUENCE t.restarted RESTART WITH 70;
             CREATE SEQUENCE t.untouched START 9",
        )
        .unwrap();
    let id = switch(&mut client, "t", "node-2");
    assert_eq!(text(&mut client, "INSERT INTO t.a (v) VALUES ('first') RETURNING id"), ["5001"]);
    roll_back(&mut client, id);
    assert_eq!(text(&mut client, "INSERT INTO t.a (v) VALUES ('second') RETURNING id"), ["5002"]);
    assert_eq!(
        text(&mut client, "SELECT nextval('t.restarted'), nextval('t.untouched')"),
        ["70|9"]
    );
    assert_clean(&cluster, &["t"]);
}

/// Names are embedded in quoted strings on the way.
#[test]
fn names_that_look_like_quotes_move() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    let schema = "a$helios$b'c\"d";
    let quoted = "\"a$helios$b'c\"\"d\"";
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {quoted} DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE {quoted}.\"t$helios$\" (id int);
             CREATE UNLOGGED TABLE {quoted}.\"u$$\" (id int); INSERT INTO {quoted}.\"t$helios$\" VALUES (1);
             INSERT INTO {quoted}.\"u$$\" VALUES (2)"
        ))
        .unwrap();
    let id = switch(&mut client, schema, "node-2");
    let both = format!("SELECT t.id, u.id FROM {quoted}.\"t$helios$\" t, {quoted}.\"u$$\" u");
    assert_eq!(text(&mut client, &both), ["1|2"]);
    roll_back(&mut client, id);
    assert_eq!(text(&mut client, &both), ["1|2"]);
    assert_clean(&cluster, &[schema]);
}

const TENANT_WITH_TRIGGER: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id int PRIMARY KEY); CREATE TABLE t.log (id int);
             CREATE FUNCTION t.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t.log VALUES (NEW.id); RETURN NULL; END $$;
             CREATE TRIGGER always AFTER INSERT ON t.a FOR EACH ROW EXECUTE FUNCTION t.note();
             ALTER TABLE t.a ENABLE ALWAYS TRIGGER always";

/// Triggers that also fire for replicated rows have done their work where the row was written.
#[test]
fn triggers_that_always_fire_do_not_fire_again_in_what_comes_home() {
    let cluster = cluster(1);
    let mut client = cluster.connect();
    client.batch_execute(TENANT_WITH_TRIGGER).unwrap();
    let written = while_written(&cluster, |client| {
        client.batch_execute("SELECT helios_undistribute_schema('t')").unwrap();
        let id = last_migration(client);
        assert_eq!(wait(client, id), "dual_write_back", "{}", shown(client, id));
        finish(client, id);
    });
    let found = "SELECT count(*), (SELECT count(*) FROM t.a), (SELECT count(DISTINCT id) FROM t.log) FROM t.log";
    assert_eq!(text(&mut client, found), [format!("{written}|{written}|{written}")]);
    let enabled = "SELECT tgenabled FROM pg_trigger WHERE tgname = 'always'";
    assert_eq!(text(&mut client, enabled), ["A"]);
    assert_eq!(node_of(&mut client, "t"), None);
}

/// Inserts numbers one by one during an operation; returns how many.
fn while_written(cluster: &helios_tests::Cluster, what: impl FnOnce(&mut postgres::Client)) -> i32 {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = cluster.connect();
            let mut id = 0;
            while !stop.load(Ordering::Relaxed) {
                id += 1;
                client.execute("INSERT INTO t.a VALUES ($1)", &[&id]).unwrap();
            }
            id
        });
        let halt = Stop(&stop);
        what(&mut cluster.connect());
        drop(halt);
        writer.join().unwrap()
    })
}

/// Sessions waiting for the fence hold locks on the shell into which the rows are copied.
#[test]
fn an_unlogged_table_comes_home_while_it_is_read() {
    let cluster = cluster(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE UNLOGGED TABLE t.u (id int); INSERT INTO t.u VALUES (1), (2)",
        )
        .unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = cluster.connect();
                client.batch_execute("SET statement_timeout = '30s'").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let row = client.query_one("SELECT count(*) FROM t.u", &[]).unwrap();
                    assert_eq!(row.get::<_, i64>(0), 2);
                }
            });
        }
        client.batch_execute("SELECT helios_undistribute_schema('t')").unwrap();
        let id = last_migration(&mut client);
        wait_until("the schema is home", BOUND, || {
            let row = shown(&mut client, id);
            if row.contains("dual_write_back") { Ok(()) } else { Err(row) }
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.u"), ["2"]);
}

/// Sessions waiting for the fence hold locks on the shell whose triggers are to be enabled again. To use ALTER TABLE
/// for that, the switch would have to wait for those sessions, which wait for the switch.
#[test]
fn triggers_sound_again_while_somebody_waits_for_the_fence() {
    let place = "migration.fence.after";
    let cluster = cluster_with_failpoints(1, &["helios.max_switch_stall = '60s'"]);
    let mut client = cluster.connect();
    client.batch_execute(TENANT_WITH_TRIGGER).unwrap();
    cluster.failpoint(place, "hang", 0, 0);
    client.batch_execute("SELECT helios_undistribute_schema('t')").unwrap();
    let id = last_migration(&mut client);
    cluster.wait_for_failpoint(place, BOUND);
    let mut writer = cluster.connect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| writer.batch_execute("INSERT INTO t.a VALUES (1)"));
        wait_until("somebody waits for the fence", BOUND, || {
            let query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'object'";
            let seen = text(&mut client, query);
            if seen == ["1"] { Ok(()) } else { Err(format!("{seen:?}")) }
        });
        go_on(&cluster, place);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    writer.batch_execute("INSERT INTO t.a VALUES (2)").unwrap();
    assert_eq!(text(&mut client, "SELECT id FROM t.log ORDER BY id"), ["1", "2"]);
    finish(&mut client, id);
    assert_eq!(
        text(&mut client, "SELECT tgenabled FROM pg_trigger WHERE tgname = 'always'"),
        ["A"]
    );
    assert_clean(&cluster, &[]);
}
