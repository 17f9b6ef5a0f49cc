//! Known mistakes of online migrations, one test each; the comment says how the test would fail with the
//! mistake. Those about timeouts are in `timeouts.rs`.

use std::sync::atomic::{AtomicBool, Ordering};

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

use crate::{
    assert_clean, begin, begin_up_to, cluster_with_failpoints, finish, go_on, node_of, roll_back,
    shown, switch, text, wait, wait_to_show,
};

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; \
    CREATE TABLE t.a (id serial PRIMARY KEY, v text); INSERT INTO t.a (v) SELECT md5(i::text) FROM generate_series(1, 5000) i; \
    CREATE TABLE t.nokey (x int); INSERT INTO t.nokey SELECT generate_series(1, 100);";

fn tenant(nodes: usize, settings: &[&str]) -> (Cluster, Client) {
    let cluster = cluster_with_failpoints(nodes, settings);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    (cluster, client)
}

/// A table on a node unknown to Helios, for writers there that are unrelated to the migration.
fn bystander(cluster: &Cluster, number: usize) -> Client {
    let mut client = cluster.connect_to_node(number);
    client
        .batch_execute("SET helios.migration_session = on; CREATE TABLE public.bystander (x int); RESET helios.migration_session")
        .unwrap();
    client
}

/// Asserts that both copies contain the same rows, after waiting for changes in transit.
#[track_caller]
fn assert_same(client: &mut Client) {
    let verify = "SELECT * FROM helios_verify_schema('t') WHERE mismatches > 0 OR source_rows <> target_rows";
    assert_eq!(text(client, verify), [""; 0]);
}

/// Sequence values and WAL positions read before the last writer has finished are too old: numbers drawn while the
/// worker waits would be returned again, and rows written in between would be missing from the new copy.
#[test]
fn positions_are_read_when_the_last_writer_is_out() {
    let (cluster, mut client) = tenant(2, &[]);
    let place = "migration.switch.before";
    let id = begin_up_to(&cluster, place, "node-2");
    client.batch_execute("INSERT INTO t.a (v) SELECT 'late' FROM generate_series(1, 500)").unwrap();
    // One is still writing when the fence is set, bypassing the coordinator.
    let mut direct = cluster.connect_to_node(1);
    direct.batch_execute("BEGIN; INSERT INTO t.a (v) VALUES ('last')").unwrap();
    let drawn: i32 = direct.query_one("SELECT max(id) FROM t.a", &[]).unwrap().get(0);
    go_on(&cluster, place);
    direct.batch_execute("INSERT INTO t.nokey VALUES (0); COMMIT").unwrap();
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    let insert = "INSERT INTO t.a (v) VALUES ('there') RETURNING id";
    let next: i32 = client.query_one(insert, &[]).unwrap().get(0);
    assert!(next > drawn, "{drawn} was drawn before the switch, {next} after it");
    let counts = "SELECT (SELECT count(*) FROM t.a), (SELECT count(*) FROM t.nokey)";
    assert_eq!(text(&mut client, counts), ["5502|101"]);
    roll_back(&mut client, id);
    let again: i32 = client.query_one(insert, &[]).unwrap().get(0);
    assert!(again > next, "{next} was drawn before the way back, {again} after it");
    assert_eq!(text(&mut client, counts), ["5503|101"]);
    assert_clean(&cluster, &["t"]);
}

/// A slot cannot be created while older transactions are open. Created after the switch, the slot for the rollback
/// would wait for these transactions, and the switch (or the rollback) with it; created in time, they do not matter.
#[test]
fn long_transactions_across_the_switch_leave_the_way_back_open() {
    let (cluster, mut client) = tenant(2, &[]);
    let mut long = [bystander(&cluster, 1), bystander(&cluster, 2)];
    let place = "migration.back.after";
    let id = begin_up_to(&cluster, place, "node-2");
    for one in &mut long {
        one.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO bystander VALUES (1); SELECT FROM t.a LIMIT 1").unwrap();
    }
    go_on(&cluster, place);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    client.batch_execute("INSERT INTO t.a (v) VALUES ('there'); DELETE FROM t.nokey WHERE x = 1; INSERT INTO t.nokey VALUES (2)").unwrap();
    long[1].batch_execute("COMMIT").unwrap();
    assert_same(&mut client);
    roll_back_while_open(&mut client, id);
    long[0].batch_execute("COMMIT").unwrap();
    let counts = "SELECT (SELECT count(*) FROM t.a), (SELECT count(*) FROM t.nokey), (SELECT count(*) FROM t.nokey WHERE x = 2)";
    assert_eq!(text(&mut client, counts), ["5001|100|2"]);
    assert_clean(&cluster, &["t"]);
}

/// Like [`roll_back`], but cleanup may have to wait for an open transaction.
#[track_caller]
fn roll_back_while_open(client: &mut Client, id: i64) {
    client.query("SELECT helios_rollback_migration($1)", &[&id]).unwrap();
    wait_until("the old copy is in use again", BOUND, || {
        let home = node_of(client, "t");
        if home.as_deref() == Some("node-1") { Ok(()) } else { Err(shown(client, id)) }
    });
}

/// Changes that the new node applied before the switch are in its WAL as well. Replication for the rollback that starts
/// before them would send them all to the old copy a second time, where a table without a key cannot detect duplicates;
/// also if the new node crashes right after the switch, and has lost the position to which its slot was advanced.
#[test]
fn the_way_back_does_not_begin_in_the_past() {
    for crash in [false, true] {
        let (cluster, mut client) = tenant(2, &[]);
        let (made, open) = ("migration.back.after", "migration.reverse.before");
        let id = begin_up_to(&cluster, made, "node-2");
        // The slot for the rollback exists; these rows are after it in the new node's WAL.
        client.batch_execute("INSERT INTO t.nokey SELECT 7 FROM generate_series(1, 300)").unwrap();
        cluster.failpoint(open, "hang", 0, 0);
        go_on(&cluster, made);
        cluster.wait_for_failpoint(open, BOUND);
        if crash {
            cluster.kill_node(2);
            cluster.start_node(2);
        }
        go_on(&cluster, open);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        // A session that lost its node reports that once.
        let mut client = cluster.connect();
        client.batch_execute("INSERT INTO t.nokey VALUES (1000)").unwrap();
        assert_same(&mut client);
        roll_back(&mut client, id);
        let found = "SELECT count(*), count(*) FILTER (WHERE x = 1000) FROM t.nokey";
        assert_eq!(text(&mut client, found), ["401|1"], "crash: {crash}");
        assert_clean(&cluster, &["t"]);
    }
}

/// Brings a migration to a switch that fails repeatedly: the new copy no longer applies changes, and rows were
/// written since.
fn stuck_before_the_switch(cluster: &Cluster, client: &mut Client) -> (i64, String) {
    let place = "migration.switch.before";
    let id = begin_up_to(cluster, place, "node-2");
    let mut node = cluster.connect_to_node(2);
    let name = text(&mut node, "SELECT subname FROM pg_subscription").concat();
    node.batch_execute(&format!("ALTER SUBSCRIPTION {name} DISABLE")).unwrap();
    wait_until("nobody applies changes", BOUND, || {
        let workers = text(
            &mut node,
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'logical replication worker'",
        );
        if workers.is_empty() { Ok(()) } else { Err(format!("{workers:?}")) }
    });
    client.batch_execute("INSERT INTO t.nokey SELECT 7 FROM generate_series(1, 300)").unwrap();
    go_on(cluster, place);
    wait_to_show(client, id, "to catch up");
    (id, format!("ALTER SUBSCRIPTION {name} ENABLE"))
}

/// Switching to a copy that has not applied everything would lose these rows.
#[test]
fn no_switch_without_having_caught_up() {
    let (cluster, mut client) = tenant(2, &[]);
    let (id, enable) = stuck_before_the_switch(&cluster, &mut client);
    assert_eq!(node_of(&mut client, "t").as_deref(), Some("node-1"));
    client.batch_execute("INSERT INTO t.nokey VALUES (8)").unwrap();
    cluster.connect_to_node(2).batch_execute(&enable).unwrap();
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.nokey"), ["401"]);
    finish(&mut client, id);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.nokey"), ["401"]);
    assert_clean(&cluster, &["t"]);
}

/// A failed switch that leaves its fence in place, or a cleanup that confuses the two copies, would block writers
/// to the old copy or drop it.
#[test]
fn cancel_after_a_failed_switch() {
    let (cluster, mut client) = tenant(2, &[]);
    let (id, _) = stuck_before_the_switch(&cluster, &mut client);
    client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
    assert_eq!(wait(&mut client, id), "cancelled", "{}", shown(&mut client, id));
    assert_clean(&cluster, &["t"]);
    for mut one in [cluster.connect(), cluster.connect_to_node(1)] {
        one.batch_execute("INSERT INTO t.nokey VALUES (8)").unwrap();
    }
    client.batch_execute("ALTER TABLE t.nokey ADD COLUMN y int").unwrap();
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.nokey"), ["402"]);
    let id = switch(&mut client, "t", "node-2");
    finish(&mut client, id);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.nokey"), ["402"]);
    assert_clean(&cluster, &["t"]);
}

/// Objects that cannot be removed because their node is down would keep the other nodes from migrating anything if the
/// migration kept its turn; and a slot left behind under the name that the next migration uses would make that one
/// fail, and all after it.
#[test]
fn what_is_left_of_one_move_does_not_block_the_next() {
    let (cluster, mut client) = tenant(3, &["helios.health_interval = '500ms'"]);
    client.batch_execute("CREATE SCHEMA u DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE u.a (id int PRIMARY KEY); INSERT INTO u.a VALUES (1)").unwrap();
    let place = "migration.subscribe.after";
    let left = begin_up_to(&cluster, place, "node-2");
    cluster.kill_node(2);
    client.query("SELECT helios_cancel_migration($1)", &[&left]).unwrap();
    go_on(&cluster, place);
    wait_to_show(&mut client, left, "cleanup");
    let id = switch(&mut client, "u", "node-3");
    finish(&mut client, id);
    assert_eq!(node_of(&mut client, "u").as_deref(), Some("node-3"));
    cluster.start_node(2);
    assert_eq!(wait(&mut client, left), "cancelled", "{}", shown(&mut client, left));
    assert_clean(&cluster, &["t", "u"]);

    let name = "SELECT format('helios_%s_%s_1', id, (SELECT max(id) + 1 FROM helios.migration)) FROM helios.cluster";
    let name = text(&mut client, name).concat();
    let orphan = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
    cluster.connect_to_node(1).batch_execute(&orphan).unwrap();
    let id = begin(&mut client, "t", "node-2");
    wait(&mut client, id);
    if node_of(&mut client, "t").as_deref() == Some("node-1") {
        assert!(shown(&mut client, id).contains(&name), "{}", shown(&mut client, id));
        let id = switch(&mut client, "t", "node-2");
        finish(&mut client, id);
    } else {
        finish(&mut client, id);
    }
    assert_clean(&cluster, &["t", "u"]);
}

/// The position reported by a subscription is lost whenever its worker exits, and does not advance while only others write.
/// A migration that waited for that position would never end.
#[test]
fn catching_up_ends_although_the_subscription_starts_again_and_others_write() {
    let (cluster, mut client) = tenant(2, &[]);
    let mut other = bystander(&cluster, 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = crate::Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                other
                    .batch_execute("INSERT INTO bystander SELECT generate_series(1, 100)")
                    .unwrap();
            }
        });
        let place = "migration.subscribe.after";
        let id = begin_up_to(&cluster, place, "node-2");
        let mut node = cluster.connect_to_node(2);
        for round in 1..=3 {
            let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_subscription WHERE pid IS NOT NULL";
            wait_until(&format!("worker {round} of the subscription runs"), BOUND, || {
                let ended = text(&mut node, end).concat();
                if ended == "1" { Ok(()) } else { Err(format!("{ended} ran")) }
            });
        }
        go_on(&cluster, place);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        finish(&mut client, id);
    });
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.a"), ["5000"]);
    assert_clean(&cluster, &["t"]);
}

/// The list of tables is made at the start of a migration. A table of a transaction still open then would not be on it: it
/// would be created on the new node, and stay empty.
#[test]
fn a_table_created_while_the_move_begins_moves_with_it() {
    let (cluster, mut client) = tenant(2, &[]);
    let mut creator = cluster.connect();
    creator.batch_execute("BEGIN; CREATE TABLE t.late (id int PRIMARY KEY); INSERT INTO t.late SELECT generate_series(1, 50); ALTER TABLE t.nokey ADD COLUMN y int DEFAULT 3").unwrap();
    let id = begin(&mut client, "t", "node-2");
    wait_to_show(&mut client, id, "waiting for");
    // Late DDL is refused, and blocks nobody.
    let error = client.batch_execute("CREATE TABLE t.too_late (x int)").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55006", "{error:?}");
    creator.batch_execute("INSERT INTO t.late VALUES (0); COMMIT").unwrap();
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    let found = "SELECT (SELECT count(*) FROM t.late), (SELECT sum(y) FROM t.nokey)";
    assert_eq!(text(&mut client, found), ["51|300"]);
    client.batch_execute("INSERT INTO t.late VALUES (-1)").unwrap();
    assert_same(&mut client);
    finish(&mut client, id);
    assert_eq!(text(&mut client, found), ["52|300"]);
    assert_clean(&cluster, &["t"]);
}

/// The switch is a distributed transaction. A recovery that mistook its prepared transactions for orphans would roll
/// back the nodes' part while the coordinator continues, or commit it a second time.
#[test]
fn recovery_leaves_a_switch_alone_that_is_being_prepared() {
    let (cluster, mut client) = tenant(2, &["helios.recovery_interval = '100ms'"]);
    let flip = "migration.flip.before";
    for place in ["prepare.sent", "prepare.after", "record.after", "commit_prepared.before"] {
        let from = node_of(&mut client, "t").unwrap();
        let to = if from == "node-1" { "node-2" } else { "node-1" };
        let id = begin_up_to(&cluster, flip, to);
        cluster.failpoint(place, "hang", 0, 0);
        go_on(&cluster, flip);
        cluster.wait_for_failpoint(place, BOUND);
        cluster.failpoint("recovery.listed", "count", 0, 0);
        wait_until("recovery has looked a few times", BOUND, || {
            let looks = cluster.failpoint_hits("recovery.listed");
            // Recovery may finish what is decided; then nothing is left to check.
            let prepared = "SELECT FROM pg_prepared_xacts";
            let finished = (1..=2)
                .all(|node| cluster.connect_to_node(node).query(prepared, &[]).unwrap().is_empty());
            let done = finished && place == "commit_prepared.before";
            if done || looks >= 6 { Ok(()) } else { Err(format!("{place}: {looks} looks")) }
        });
        go_on(&cluster, place);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{place}: {}", shown(&mut client, id));
        client.batch_execute("INSERT INTO t.nokey VALUES (9)").unwrap();
        finish(&mut client, id);
        assert_eq!(node_of(&mut client, "t").as_deref(), Some(to), "{place}");
        assert_clean(&cluster, &["t"]);
    }
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.nokey"), ["104"]);
}

/// The commit records of switches would accumulate if nobody removed those of completed transactions, including those
/// of a coordinator that died in between.
#[test]
fn commit_records_of_switches_are_removed() {
    let (cluster, mut client) = tenant(2, &[]);
    let id = switch(&mut client, "t", "node-2");
    roll_back(&mut client, id);
    assert_clean(&cluster, &["t"]);
    let (flip, place) = ("migration.flip.before", "commit_prepared.before");
    let id = begin_up_to(&cluster, flip, "node-2");
    cluster.failpoint(place, "hang", 0, 0);
    go_on(&cluster, flip);
    cluster.wait_for_failpoint(place, BOUND);
    let mut other = cluster.connect();
    assert_ne!(text(&mut other, "SELECT count(*) FROM helios.transaction"), ["0"]);
    cluster.coordinator().kill().unwrap();
    cluster.start_all(BOUND);
    let mut client = cluster.connect();
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    finish(&mut client, id);
    // Commit records are among the traces checked.
    assert_clean(&cluster, &["t"]);
}
