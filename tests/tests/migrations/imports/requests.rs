//! Imports can be cancelled in any state, and leave nothing on either side.

use std::time::Duration;

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

use super::{Abroad, assert_gone, begin, reaches, reaches_state};
use crate::{SETTINGS, shown, text, wait};

const TENANT: &str = "CREATE SCHEMA t; CREATE TABLE t.a (id serial PRIMARY KEY, v text); \
    INSERT INTO t.a (v) SELECT md5(i::text) FROM generate_series(1, 20000) i; \
    CREATE TABLE t.nokey (x int); INSERT INTO t.nokey SELECT 1 FROM generate_series(1, 10);";

fn start(settings: &[&str]) -> (Cluster, Abroad, Client, Client) {
    let all = [&SETTINGS[..], settings].concat();
    let (cluster, abroad) = (Cluster::with_settings(1, &all), Abroad::start());
    let (client, mut there) = (cluster.connect(), abroad.connect());
    there.batch_execute(TENANT).unwrap();
    (cluster, abroad, client, there)
}

#[track_caller]
fn cancel(cluster: &Cluster, abroad: &Abroad, client: &mut Client, id: i64) {
    client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
    assert_eq!(wait(client, id), "cancelled", "{}", shown(client, id));
    let mut there = abroad.connect();
    there.batch_execute("INSERT INTO t.a (v) VALUES ('x'); ALTER TABLE t.a ADD COLUMN w int; ALTER TABLE t.a DROP COLUMN w").unwrap();
    abroad.assert_clean();
    assert_gone(cluster, "t");
}

#[test]
fn cancelled_at_once_and_in_the_transaction_that_began_it() {
    let (cluster, abroad, mut client, _) = start(&[]);
    let mut transaction = client.transaction().unwrap();
    let ask = "SELECT helios_import_schema($1, 't')";
    let id: i64 = transaction.query_one(ask, &[&abroad.conninfo()]).unwrap().get(0);
    transaction.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
    transaction.commit().unwrap();
    assert_eq!(wait(&mut client, id), "cancelled");
    abroad.assert_clean();
    assert_gone(&cluster, "t");
    // Rolled back with its transaction, it never existed.
    let mut transaction = client.transaction().unwrap();
    transaction.query_one(ask, &[&abroad.conninfo()]).unwrap();
    transaction.rollback().unwrap();
    abroad.assert_clean();
    assert_gone(&cluster, "t");
    assert_eq!(text(&mut client, "SELECT count(*) FROM helios_migrations"), ["1"]);
}

#[test]
fn cancelled_before_the_slot_while_rows_come_and_before_the_switch() {
    let (cluster, abroad, mut client, mut there) = start(&["helios.migration_rate = 1000"]);
    let mut other = abroad.connect();
    other.batch_execute("BEGIN; INSERT INTO t.a (v) VALUES ('open')").unwrap();
    let id = begin(&mut client, &abroad.conninfo(), "t", "node-1");
    reaches(&mut client, id, "waiting for open transactions");
    other.batch_execute("COMMIT").unwrap();
    reaches_state(&mut client, id, "backfill");
    // Meanwhile the name is taken, and the schema is not visible.
    let taken = client.batch_execute("CREATE SCHEMA t").unwrap_err();
    assert_eq!(taken.code().unwrap().code(), "42P06");
    let fenced = client.batch_execute("CREATE TABLE t.x (x int)").unwrap_err();
    assert_eq!(fenced.code().unwrap().code(), "55006");
    let unseen = client.batch_execute("SELECT FROM t.a").unwrap_err();
    assert_eq!(unseen.code().unwrap().code(), "42P01");
    there.batch_execute("INSERT INTO t.a (v) VALUES ('y')").unwrap();
    cancel(&cluster, &abroad, &mut client, id);

    client.batch_execute("ALTER SYSTEM SET helios.migration_rate = 0").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    other.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT FROM t.a").unwrap();
    let id = begin(&mut client, &abroad.conninfo(), "t", "node-1");
    // A reader does not block it; a writer does.
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    client.query("SELECT helios_rollback_migration($1)", &[&id]).unwrap();
    wait_until("writers go on there while a reader still holds the table", BOUND, || {
        let insert =
            there.batch_execute("SET lock_timeout = '2s'; INSERT INTO t.a (v) VALUES ('z')");
        insert.map_err(|error| format!("{error:?}"))
    });
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(wait(&mut client, id), "rolled_back", "{}", shown(&mut client, id));
    abroad.assert_clean();
    assert_gone(&cluster, "t");
}

#[test]
fn a_writer_that_does_not_end_delays_the_switch_and_nobody_else() {
    let (cluster, abroad, mut client, mut there) = start(&["helios.migration_rate = 10000"]);
    let id = begin(&mut client, &abroad.conninfo(), "t", "node-1");
    reaches_state(&mut client, id, "backfill");
    let mut other = abroad.connect();
    other.batch_execute("BEGIN; INSERT INTO t.a (v) VALUES ('open')").unwrap();
    reaches(&mut client, id, "that write to its schemas");
    std::thread::sleep(Duration::from_millis(300));
    there
        .batch_execute("SET statement_timeout = '5s'; INSERT INTO t.a (v) VALUES ('meanwhile')")
        .unwrap();
    client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
    assert_eq!(wait(&mut client, id), "cancelled", "{}", shown(&mut client, id));
    other.batch_execute("COMMIT").unwrap();
    abroad.assert_clean();
    assert_gone(&cluster, "t");
}
