//! A target that is unreachable, before and in the middle of a migration.

use helios_tests::Cluster;
use postgres::Client;

use crate::{
    assert_clean, begin_up_to, cluster_with_failpoints, finish, go_on, node_of, shown, switch,
    text, wait, wait_to_show,
};

fn tenant() -> (Cluster, Client) {
    let cluster = cluster_with_failpoints(2, &["helios.health_interval = '300ms'"]);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id serial PRIMARY KEY); INSERT INTO t.a SELECT generate_series(1, 1000)").unwrap();
    (cluster, client)
}

fn cancel(client: &mut Client, id: i64) {
    client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
}

#[test]
fn a_node_that_is_away_is_refused() {
    let (cluster, mut client) = tenant();
    cluster.kill_node(2);
    let error = client.query("SELECT helios_migrate_schema('t', 'node-2')", &[]).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "08001", "{error:?}");
    assert!(error.message().contains("node-2") && error.hint().is_some(), "{error:?}");
    client.batch_execute("ALTER TABLE t.a ADD COLUMN x int; TRUNCATE t.a").unwrap();
    cluster.start_node(2);
    assert_clean(&cluster, &["t"]);
}

#[test]
fn a_target_that_goes_away_is_waited_for_and_named() {
    let (cluster, mut client) = tenant();
    let place = "migration.indexes.before";
    let id = begin_up_to(&cluster, place, "node-2");
    cluster.kill_node(2);
    go_on(&cluster, place);
    wait_to_show(&mut client, id, "node-2");
    client.batch_execute("INSERT INTO t.a VALUES (5000)").unwrap();
    cluster.start_node(2);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.a"), ["1001"]);
    finish(&mut client, id);
    assert_clean(&cluster, &["t"]);
}

/// Cleanup on the node has to wait for it; the schema is usable all the time.
#[test]
fn a_move_is_cancelled_while_its_target_is_away() {
    let (cluster, mut client) = tenant();
    let place = "migration.indexes.before";
    let id = begin_up_to(&cluster, place, "node-2");
    cluster.kill_node(2);
    cancel(&mut client, id);
    go_on(&cluster, place);
    wait_to_show(&mut client, id, "cleanup");
    wait_to_show(&mut client, id, "node-2");
    client.batch_execute("INSERT INTO t.a VALUES (5000)").unwrap();
    assert_eq!(node_of(&mut client, "t").as_deref(), Some("node-1"));
    cluster.start_node(2);
    assert_eq!(wait(&mut client, id), "cancelled", "{}", shown(&mut client, id));
    assert_clean(&cluster, &["t"]);
    let id = switch(&mut client, "t", "node-2");
    finish(&mut client, id);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.a"), ["1001"]);
}

/// A node restarted with a new library refuses its coordinator until its catalogs are updated.
#[test]
fn a_target_whose_upgrade_is_not_finished_is_waited_for() {
    let (cluster, mut client) = tenant();
    let place = "migration.indexes.before";
    let id = begin_up_to(&cluster, place, "node-2");
    let set_version = |version: &str| {
        let update =
            format!("UPDATE pg_extension SET extversion = '{version}' WHERE extname = 'helios'");
        cluster.node(2).connect("helios").unwrap().batch_execute(&update).unwrap();
    };
    let mut node = cluster.node(2).connect("helios").unwrap();
    let version = text(&mut node, "SELECT extversion FROM pg_extension WHERE extname = 'helios'");
    drop(node);
    set_version("0.1.0");
    cluster.restart_node(2);
    go_on(&cluster, place);
    wait_to_show(&mut client, id, "installed version of extension");
    set_version(&version[0]);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.a"), ["1000"]);
    finish(&mut client, id);
    assert_clean(&cluster, &["t"]);
}
