//! A node is a group of servers whose standby takes over during a migration. Slots are not carried over, and the new
//! primary may be behind what the other copy has already applied. So a migration that has not switched fails, says why, and
//! can be restarted.

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;
use testkit::ports::Ports;
use testkit::server::Server;

use crate::{
    assert_clean_on, begin_up_to, cluster_with_failpoints, finish, go_on, node_of, shown, switch,
    text, wait, wait_to_show,
};

/// Makes commits wait for the standby, which is required to lose none.
fn make_synchronous(primary: &mut Client) {
    primary.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").unwrap();
    primary.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the standby is synchronous", BOUND, || {
        let query = "SELECT coalesce(string_agg(sync_state, ','), 'none') FROM pg_stat_replication WHERE application_name = 'walreceiver'";
        let state = text(primary, query).concat();
        if state == "sync" { Ok(()) } else { Err(state) }
    });
}

/// Promotes the standby. It does not wait for a standby itself.
fn promote(standby: &Server) {
    let mut client = standby.connect("postgres").unwrap();
    client.batch_execute("SELECT pg_promote(true, 60)").unwrap();
    client.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
}

const COUNTS: &str = "SELECT (SELECT count(*) FROM t.a), (SELECT count(*) FROM t.nokey)";

/// A schema on the first node, and a node with a standby, which is returned with its port.
fn tenant(number: usize) -> (Cluster, Client, Server, Ports) {
    let cluster = cluster_with_failpoints(2, &["helios.health_interval = '500ms'"]);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id int PRIMARY KEY); \
        CREATE TABLE t.nokey (x int); INSERT INTO t.nokey SELECT generate_series(1, 500); INSERT INTO t.a SELECT generate_series(1, 500)").unwrap();
    let (standby, ports) = cluster.add_standby(number);
    make_synchronous(&mut cluster.connect_to_node(number));
    (cluster, client, standby, ports)
}

/// Fails the node over once the migration has reached the failpoint.
fn fails_over(number: usize, place: &str) {
    let (cluster, mut client, standby, _ports) = tenant(number);
    let id = begin_up_to(&cluster, place, "node-2");
    client.batch_execute("INSERT INTO t.a VALUES (0)").unwrap();
    cluster.kill_node(number);
    promote(&standby);
    go_on(&cluster, place);
    assert_eq!(wait(&mut client, id), "failed", "{place}: {}", shown(&mut client, id));
    let error = text(&mut client, "SELECT error FROM helios_migrations").concat();
    let node = format!("node-{number}");
    for words in [node.as_str(), "failed over", "Hint:"] {
        assert!(error.contains(words), "{place}: no {words:?} in {error}");
    }
    let mut nodes: Vec<&Server> = cluster.nodes().iter().collect();
    nodes[number - 1] = &standby;
    assert_clean_on(&cluster, &nodes, &["t"]);
    // A session that lost its node reports that once.
    let mut client = cluster.connect();
    client.batch_execute("INSERT INTO t.nokey VALUES (0)").unwrap();
    let id = switch(&mut client, "t", "node-2");
    assert_eq!(text(&mut client, COUNTS), ["501|501"], "{place}");
    finish(&mut client, id);
    assert_eq!(node_of(&mut client, "t").as_deref(), Some("node-2"));
    assert_eq!(text(&mut client, COUNTS), ["501|501"], "{place}");
    assert_clean_on(&cluster, &nodes, &["t"]);
}

#[test]
fn the_source_fails_over_while_rows_are_copied() {
    fails_over(1, "migration.table.copied");
}

#[test]
fn the_source_fails_over_while_the_copy_follows() {
    fails_over(1, "migration.subscribe.after");
}

#[test]
fn the_source_fails_over_just_before_the_switch() {
    fails_over(1, "migration.back.after");
}

#[test]
fn the_target_fails_over_while_the_copy_follows() {
    fails_over(2, "migration.subscribe.after");
}

/// After the switch, the node of the new copy fails over: a rollback is no longer possible, which is reported, and the
/// migration can be finished.
#[test]
fn the_new_node_fails_over_after_the_switch() {
    let (cluster, mut client, standby, _ports) = tenant(2);
    let id = switch(&mut client, "t", "node-2");
    client.batch_execute("INSERT INTO t.a VALUES (0)").unwrap();
    cluster.kill_node(2);
    promote(&standby);
    let mut client = cluster.connect();
    client.query("SELECT helios_rollback_migration($1)", &[&id]).unwrap();
    wait_to_show(&mut client, id, "failed over");
    assert_eq!(node_of(&mut client, "t").as_deref(), Some("node-2"));
    client.batch_execute("INSERT INTO t.nokey VALUES (0)").unwrap();
    finish(&mut client, id);
    assert_eq!(text(&mut client, COUNTS), ["501|501"]);
    assert_clean_on(&cluster, &[cluster.node(1), &standby], &["t"]);
}
