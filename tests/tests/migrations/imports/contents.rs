//! All kinds of objects in a schema are imported, and returned by a rollback.

use testkit::cluster::DATABASE;

use super::{Abroad, assert_gone, begin, switch};
use crate::contents::{AROUND, OBJECTS, ROWS, definition};
use crate::{SETTINGS, assert_clean, cluster, finish, node_of, roll_back, shown, text, wait};
use helios_tests::Cluster;
use postgres::Client;

fn everything(client: &mut Client) -> Vec<Vec<String>> {
    ROWS.iter().map(|query| text(client, query)).collect()
}

#[track_caller]
fn refused(client: &mut Client, sql: &str) {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    assert_eq!(error.code().code(), "55006", "{sql}: {error:?}");
    assert!(error.hint().is_some(), "{sql}: {error:?}");
}

#[test]
fn everything_in_a_foreign_schema_comes_and_goes_back() {
    let (cluster, abroad) = (cluster(2), Abroad::start());
    let (mut client, mut there) = (cluster.connect(), abroad.connect());
    client.batch_execute(AROUND).unwrap();
    client.batch_execute("SELECT helios_create_reference_table('country')").unwrap();
    there.batch_execute(AROUND).unwrap();
    there.batch_execute("CREATE SCHEMA \"Odd.Name\" AUTHORIZATION owner_of_all").unwrap();
    there.batch_execute(OBJECTS).unwrap();
    let before = definition(&abroad.0.server, "Odd.Name");
    let rows = everything(&mut there);

    let id = switch(&mut client, &abroad, "Odd.Name", "node-2");
    assert_eq!(node_of(&mut client, "Odd.Name").as_deref(), Some("node-2"));
    assert_eq!(everything(&mut client), rows);
    let next = r#"SELECT nextval('"Odd.Name".counter') >= 105, nextval('"Odd.Name".untouched')"#;
    assert_eq!(text(&mut client, next), ["t|7"]);
    closed_abroad(&mut there);
    refused(&mut client, r#"ALTER TABLE "Odd.Name".log ADD COLUMN y int"#);
    assert_eq!(
        text(
            &mut client,
            r#"SELECT count(*) FROM helios_verify_schema('Odd.Name') WHERE mismatches > 0"#
        ),
        ["0"]
    );

    client.batch_execute(r#"INSERT INTO "Odd.Name".fleeting VALUES (3, E'c\t''"')"#).unwrap();
    client.batch_execute(r#"INSERT INTO "Odd.Name".parent VALUES (7, 'new')"#).unwrap();
    roll_back(&mut client, id);
    let fleeting = r#"SELECT x FROM "Odd.Name".fleeting WHERE id = 3"#;
    assert_eq!(text(&mut there, fleeting), ["c\t'\""]);
    assert_eq!(text(&mut there, r#"SELECT x FROM "Odd.Name".parent WHERE id = 7"#), ["new"]);
    there.batch_execute(r#"DELETE FROM "Odd.Name".fleeting WHERE id = 3; DELETE FROM "Odd.Name".parent WHERE id = 7"#).unwrap();
    assert_eq!(everything(&mut there), rows);
    assert_eq!(definition(&abroad.0.server, "Odd.Name"), before);
    assert_eq!(text(&mut there, r#"SELECT nextval('"Odd.Name".untouched')"#), ["8"]);
    abroad.assert_clean();
    assert_gone(&cluster, "Odd.Name");

    let id = switch(&mut client, &abroad, "Odd.Name", "node-1");
    finish(&mut client, id);
    finished(&cluster, &mut client, &before, &rows);
    stays_closed(&abroad, &mut there);
}

/// A finished import is a distributed schema like any other.
fn finished(cluster: &Cluster, client: &mut Client, before: &str, rows: &[Vec<String>]) {
    assert_eq!(everything(client), rows);
    assert_eq!(definition(cluster.node(1), "Odd.Name"), before);
    assert_clean(cluster, &["Odd.Name"]);
    assert_eq!(definition(cluster.coordinator(), "Odd.Name"), before);
    let error = client
        .batch_execute(r#"INSERT INTO "Odd.Name"."Customer" (name, country) VALUES ('z', 9)"#)
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23503");
    client.batch_execute(r#"UPDATE country SET name = 'z' WHERE id = 2; INSERT INTO country VALUES (3, 'w'); DELETE FROM country WHERE id = 3"#).unwrap();
    let error = client.batch_execute("DELETE FROM country WHERE id = 2").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23503");
    client.batch_execute(r#"INSERT INTO "Odd.Name".nokey VALUES (200, 1)"#).unwrap();
    let fired = r#"SELECT what FROM "Odd.Name".log ORDER BY id DESC LIMIT 2"#;
    assert_eq!(text(client, fired), ["plain INSERT", "always INSERT"]);
    client
        .batch_execute(r#"ALTER TABLE "Odd.Name".log ADD COLUMN y int; TRUNCATE "Odd.Name".log"#)
        .unwrap();
    let id = crate::switch(client, "Odd.Name", "node-2");
    finish(client, id);
    assert_clean(cluster, &["Odd.Name"]);
    client.batch_execute("DROP SCHEMA \"Odd.Name\" CASCADE").unwrap();
}

/// Nothing can write to or alter the old copy, in any way.
fn closed_abroad(there: &mut Client) {
    for sql in [
        r#"INSERT INTO "Odd.Name".parent VALUES (99, 'x')"#,
        r#"UPDATE "Odd.Name".measure SET id = id"#,
        r#"DELETE FROM "Odd.Name".measure_new_0"#,
        r#"TRUNCATE "Odd.Name".log"#,
        r#"COPY "Odd.Name".parent FROM PROGRAM 'echo 98'"#,
        r#"SET session_replication_role = replica; INSERT INTO "Odd.Name".parent VALUES (99, 'x')"#,
        r#"CREATE TABLE "Odd.Name".more (x int)"#,
        r#"DROP TABLE "Odd.Name".identity_full"#,
        r#"ALTER SCHEMA "Odd.Name" RENAME TO even"#,
        r#"CREATE INDEX ON "Odd.Name".nokey (x)"#,
    ] {
        refused(there, sql);
    }
    there.batch_execute("RESET session_replication_role; REFRESH MATERIALIZED VIEW \"Odd.Name\".summary; CREATE TABLE elsewhere (x int); DROP TABLE elsewhere").unwrap();
}

/// After the end only the write protection is left there; one statement removes it.
fn stays_closed(abroad: &Abroad, there: &mut Client) {
    let insert = r#"INSERT INTO "Odd.Name".parent VALUES (99, 'x')"#;
    refused(there, insert);
    let ours = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'helios%'";
    let ours = text(there, ours).concat();
    there.batch_execute(&format!("CREATE TABLE \"Odd.Name\".more (x int); DROP TABLE \"Odd.Name\".more; DROP SCHEMA {ours} CASCADE")).unwrap();
    there.batch_execute(insert).unwrap();
    abroad.assert_clean();
}

#[test]
fn without_a_way_back_and_on_a_server_that_is_a_whole_cluster() {
    let (cluster, abroad) = (cluster(0), Abroad::start());
    let (mut client, mut there) = (cluster.connect(), abroad.connect());
    // A role that is not a superuser is sufficient.
    there
        .batch_execute(&format!(
            "CREATE ROLE importer LOGIN REPLICATION; GRANT CREATE ON DATABASE {DATABASE} TO importer; \
             CREATE SCHEMA t AUTHORIZATION importer; SET ROLE importer; \
             CREATE TABLE t.a (id serial PRIMARY KEY, v text); INSERT INTO t.a (v) SELECT 'v' || i FROM generate_series(1, 100) i; \
             CREATE TABLE t.nokey (x int); INSERT INTO t.nokey VALUES (1), (1)"
        ))
        .unwrap();
    client.batch_execute("CREATE ROLE importer").unwrap();
    let from = abroad.conninfo().replace("user=postgres", "user=importer");
    let ask = "SELECT helios_import_schema($1, 't', way_back => false)";
    let id: i64 = client.query_one(ask, &[&from]).unwrap().get(0);
    assert_eq!(wait(&mut client, id), "finished", "{}", shown(&mut client, id));
    let seen =
        "SELECT (SELECT count(*) FROM t.a), (SELECT count(*) FROM t.nokey), nextval('t.a_id_seq')";
    assert_eq!(text(&mut client, seen), ["100|2|101"]);
    assert_eq!(node_of(&mut client, "t").as_deref(), Some("coordinator"));
    client
        .batch_execute("INSERT INTO t.a (v) VALUES ('new'); ALTER TABLE t.a ADD COLUMN w int")
        .unwrap();
    refused(&mut there, "INSERT INTO t.nokey VALUES (3)");
    assert_clean(&cluster, &[]);
}

#[test]
fn on_a_server_that_is_a_whole_cluster_it_goes_back_too() {
    let (cluster, abroad) = (cluster(0), Abroad::start());
    let (mut client, mut there) = (cluster.connect(), abroad.connect());
    there
        .batch_execute(
            "CREATE SCHEMA t; CREATE TABLE t.a (id int PRIMARY KEY); INSERT INTO t.a VALUES (1)",
        )
        .unwrap();
    let ask = "SELECT helios_import_schema($1, 't')";
    let id: i64 = client.query_one(ask, &[&abroad.conninfo()]).unwrap().get(0);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    client.batch_execute("INSERT INTO t.a VALUES (2)").unwrap();
    roll_back(&mut client, id);
    there.batch_execute("INSERT INTO t.a VALUES (3)").unwrap();
    assert_eq!(text(&mut there, "SELECT id FROM t.a ORDER BY id"), ["1", "2", "3"]);
    abroad.assert_clean();
    assert_gone(&cluster, "t");
}

#[test]
fn what_changes_there_during_the_copy_comes_too_or_ends_the_import() {
    let (cluster, abroad) = (crate::cluster(1), Abroad::start());
    let (mut client, mut there) = (cluster.connect(), abroad.connect());
    there.batch_execute("CREATE SCHEMA t; CREATE TABLE t.a (id int PRIMARY KEY); INSERT INTO t.a SELECT generate_series(1, 100); \
        CREATE TABLE t.b (id int PRIMARY KEY); INSERT INTO t.b SELECT generate_series(1, 100); CREATE FUNCTION t.f() RETURNS int LANGUAGE sql AS 'SELECT 1'").unwrap();
    // Slot creation waits until it ends.
    let mut other = abroad.connect();
    other.batch_execute("BEGIN; INSERT INTO t.a VALUES (1000)").unwrap();
    let id = begin(&mut client, &abroad.conninfo(), "t", "node-1");
    super::reaches(&mut client, id, "waiting for open transactions");
    refused(&mut there, "CREATE OR REPLACE FUNCTION t.f() RETURNS int LANGUAGE sql AS 'SELECT 2'");
    there.batch_execute("TRUNCATE t.b; INSERT INTO t.b VALUES (1)").unwrap();
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    let counts = "SELECT (SELECT count(*) FROM t.a), (SELECT count(*) FROM t.b), t.f()";
    assert_eq!(text(&mut client, counts), ["101|1|1"]);
    roll_back(&mut client, id);
    abroad.assert_clean();
    assert_gone(&cluster, "t");
}

#[test]
fn a_definition_that_changes_where_nothing_keeps_it_ends_the_import() {
    let settings = [&SETTINGS[..], &["helios.migration_rate = 2000"]].concat();
    let (cluster, abroad) = (Cluster::with_settings(1, &settings), Abroad::start());
    let (mut client, mut there) = (cluster.connect(), abroad.connect());
    client.batch_execute("CREATE ROLE importer").unwrap();
    there
        .batch_execute(&format!(
            "CREATE ROLE importer LOGIN REPLICATION; GRANT CREATE ON DATABASE {DATABASE} TO importer; \
             CREATE SCHEMA t AUTHORIZATION importer; SET ROLE importer; CREATE TABLE t.a (id int PRIMARY KEY); \
             INSERT INTO t.a SELECT generate_series(1, 10000); CREATE FUNCTION t.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        ))
        .unwrap();
    let from = abroad.conninfo().replace("user=postgres", "user=importer");
    let ask = "SELECT helios_import_schema($1, 't', way_back => false)";
    let id: i64 = client.query_one(ask, &[&from]).unwrap().get(0);
    super::reaches_state(&mut client, id, "backfill");
    there
        .batch_execute("CREATE OR REPLACE FUNCTION t.f() RETURNS int LANGUAGE sql AS 'SELECT 2'")
        .unwrap();
    assert_eq!(wait(&mut client, id), "failed", "{}", shown(&mut client, id));
    let seen = shown(&mut client, id);
    assert!(seen.contains("was changed on the foreign server"), "{seen}");
    there.batch_execute("INSERT INTO t.a VALUES (-1)").unwrap();
    abroad.assert_clean();
    assert_gone(&cluster, "t");
}
