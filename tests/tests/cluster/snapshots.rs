//! An exported snapshot includes one of each node; a transaction that imports it sees each node as of that moment.

use std::sync::atomic::{AtomicBool, Ordering};

use helios_tests::{BOUND, Cluster, PlainServer, text, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;

const TENANTS: &str = "CREATE SCHEMA one DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA two DISTRIBUTED ON NODE \"node-2\";
    CREATE TABLE one.parent (id int PRIMARY KEY); CREATE TABLE one.child (id int PRIMARY KEY, parent int NOT NULL REFERENCES one.parent, filler text);
    CREATE TABLE two.parent (id int PRIMARY KEY); CREATE TABLE two.child (id int PRIMARY KEY, parent int NOT NULL REFERENCES two.parent, filler text);
    CREATE TABLE here (id int)";

/// Inserts a row of each kind.
fn write(client: &mut Client, id: i32) {
    for schema in ["one", "two"] {
        client
            .batch_execute(&format!(
                "BEGIN; INSERT INTO {schema}.parent VALUES ({id}); INSERT INTO {schema}.child VALUES ({id}, {id}, repeat('x', 500)); COMMIT"
            ))
            .unwrap();
    }
    client.batch_execute(&format!("INSERT INTO here VALUES ({id})")).unwrap();
}

const COUNTS: &str = "SELECT count(*) FROM here; SELECT count(*) FROM one.child; SELECT count(*) FROM two.child; SELECT count(*) FROM two.parent";

fn counts(client: &mut Client) -> Vec<String> {
    COUNTS.split("; ").flat_map(|query| text(client, query)).collect()
}

fn export(client: &mut Client, begin: &str) -> String {
    client.batch_execute(begin).unwrap();
    client.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).unwrap().get(0)
}

fn import(client: &mut Client, level: &str, id: &str) -> Result<(), postgres::Error> {
    client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SET TRANSACTION SNAPSHOT '{id}'"))
}

#[track_caller]
fn refused(result: Result<(), postgres::Error>, code: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some(code), "{error:?}");
}

#[test]
fn an_imported_snapshot_shows_every_node_as_it_was() {
    let cluster = Cluster::start(2);
    let (mut exporter, mut writer) = (cluster.connect(), cluster.connect());
    writer.batch_execute(TENANTS).unwrap();
    write(&mut writer, 1);
    for begin in [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "BEGIN",
    ] {
        let id = export(&mut exporter, begin);
        let before = counts(&mut writer);
        let next = 1000 + counts(&mut writer)[0].parse::<i32>().unwrap();
        write(&mut writer, next);
        assert_ne!(counts(&mut writer), before);
        let level = if begin.contains("SERIALIZABLE") { "SERIALIZABLE" } else { "REPEATABLE READ" };
        for _ in 0..2 {
            let mut importer = cluster.connect();
            import(&mut importer, level, &id).unwrap();
            assert_eq!(counts(&mut importer), before, "{begin}");
            importer
                .batch_execute("SAVEPOINT a; SELECT count(*) FROM two.child; ROLLBACK TO a; COMMIT")
                .unwrap();
            // The next transaction has its own snapshot.
            assert_ne!(counts(&mut importer), before);
            // First used inside a savepoint.
            import(&mut importer, level, &id).unwrap();
            importer.batch_execute("SAVEPOINT a; SAVEPOINT b").unwrap();
            assert_eq!(counts(&mut importer), before, "{begin}");
            importer.batch_execute("ROLLBACK TO a").unwrap();
            assert_eq!(counts(&mut importer), before, "{begin}");
        }
        // As on one server.
        let mut importer = cluster.connect();
        refused(import(&mut importer, "READ COMMITTED", &id), "0A000");
        importer
            .batch_execute(
                "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM one.child",
            )
            .unwrap();
        refused(importer.batch_execute(&format!("SET TRANSACTION SNAPSHOT '{id}'")), "25001");
        importer.batch_execute("ROLLBACK").unwrap();
        exporter.batch_execute("COMMIT").unwrap();
        refused(import(&mut importer, level, &id), "22023");
        importer.batch_execute("ROLLBACK").unwrap();
    }
    wrong_identifiers(&cluster, &mut exporter);
}

fn wrong_identifiers(cluster: &Cluster, exporter: &mut Client) {
    let id = export(exporter, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    let own = id.split('+').next().unwrap();
    for wrong in [
        "",
        "x",
        "00000003-0000001B-1",
        &format!("{own}+"),
        &format!("{own}+1:'; SELECT 1; --"),
        &format!("{own}+x:1"),
    ] {
        let mut importer = cluster.connect();
        refused(import(&mut importer, "REPEATABLE READ", &wrong.replace('\'', "''")), "22023");
    }
    // A snapshot of this server only, as exported by a replication slot.
    let mut importer = cluster.connect();
    import(&mut importer, "REPEATABLE READ", own).unwrap();
    importer.batch_execute("SELECT count(*) FROM here").unwrap();
    refused(importer.batch_execute("SELECT count(*) FROM one.child"), "0A000");
    // Another node's snapshot identifier is unknown on this one.
    let mut importer = cluster.connect();
    import(&mut importer, "REPEATABLE READ", &format!("{own}+1:00000FFF-00000FFF-1")).unwrap();
    importer.batch_execute("SELECT count(*) FROM here").unwrap();
    refused(importer.batch_execute("SELECT count(*) FROM one.child"), "22023");
    exporter.batch_execute("SAVEPOINT a").unwrap();
    refused(exporter.batch_execute("SELECT pg_export_snapshot()"), "25001");
    exporter.batch_execute("ROLLBACK").unwrap();
}

#[test]
fn a_schema_that_moved_since_is_not_read_as_of_then() {
    let settings = ["max_worker_processes = 24", "helios.rollback_window = 3600"];
    let cluster = Cluster::with_settings(2, &settings);
    let (mut exporter, mut client) = (cluster.connect(), cluster.connect());
    client.batch_execute(TENANTS).unwrap();
    write(&mut client, 1);
    let id = export(&mut exporter, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    // The migration's slot waits for transactions that were open; read-only ones do not delay it.
    let migration: i64 =
        client.query_one("SELECT helios_migrate_schema('one', 'node-2')", &[]).unwrap().get(0);
    wait_until("the schema has moved", BOUND, || {
        let state = text(
            &mut client,
            &format!(
                "SELECT state || coalesce(': ' || error, '') FROM helios_migrations WHERE id = {migration}"
            ),
        );
        if state == ["dual_write_back"] { Ok(()) } else { Err(state.concat()) }
    });
    let mut importer = cluster.connect();
    import(&mut importer, "REPEATABLE READ", &id).unwrap();
    importer.batch_execute("SELECT count(*) FROM two.child").unwrap();
    refused(importer.batch_execute("SELECT count(*) FROM one.child"), "40001");
    let mut importer = cluster.connect();
    import(&mut importer, "REPEATABLE READ", &id).unwrap();
    refused(importer.batch_execute("COPY one.child TO STDOUT"), "40001");
    refused(exporter.batch_execute("SELECT count(*) FROM one.child"), "40001");
}

#[test]
fn a_parallel_dump_under_writes_has_no_orphans() {
    let cluster = Cluster::start(2);
    let plain = PlainServer::start();
    let mut client = cluster.connect();
    client.batch_execute(TENANTS).unwrap();
    let fill = "INSERT INTO one.parent SELECT generate_series(-20000, -1); INSERT INTO one.child SELECT i, i, repeat('x', 500) FROM generate_series(-20000, -1) i;
                INSERT INTO two.parent SELECT generate_series(-20000, -1); INSERT INTO two.child SELECT i, i, repeat('x', 500) FROM generate_series(-20000, -1) i";
    client.batch_execute(fill).unwrap();
    let dir = cluster.dir().join("dump");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut writer = cluster.connect();
        let done = &done;
        scope.spawn(move || {
            let mut id = 1;
            while !done.load(Ordering::Relaxed) {
                write(&mut writer, id);
                id += 1;
            }
        });
        let mut dump = cluster.coordinator().client("pg_dump", DATABASE).unwrap();
        dump.args(["-Fd", "-j", "4", "--schema=one", "--schema=two", "-f"]).arg(&dir);
        let output = dump.output().unwrap();
        done.store(true, Ordering::Relaxed);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    let mut restore = plain.server.client("pg_restore", DATABASE).unwrap();
    restore.args(["-d", DATABASE, "--exit-on-error", "--no-owner"]).arg(&dir);
    let output = restore.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut there = plain.connect();
    for schema in ["one", "two"] {
        let rows = format!(
            "SELECT count(*) > 20000 - 1, (SELECT count(*) FROM {schema}.parent) = count(*) FROM {schema}.child"
        );
        assert_eq!(text(&mut there, &rows), ["t|t"], "{schema}");
    }
    // One that imports the snapshot.
    let id = export(&mut client, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    let before = counts(&mut client);
    write(&mut cluster.connect(), 1_000_000);
    let mut dump = cluster.coordinator().client("pg_dump", DATABASE).unwrap();
    dump.args(["--data-only", "--table=two.child", &format!("--snapshot={id}")]);
    let output = dump.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.contains("xxxx"))
        .count();
    assert_eq!(rows.to_string(), before[2]);
}
