//! Transactions on one node, on several, and what is left when a server dies in the middle.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use helios_tests::{BOUND, Cluster, Stop, wait_until};
use postgres::Client;

/// Schemas `one` and `two` on the nodes of these numbers, each with accounts 1 to 100.
fn accounts(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    for (schema, node) in [("one", 1), ("two", 2)] {
        client
            .batch_execute(&format!(
                "CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"node-{node}\"; \
                 CREATE TABLE {schema}.account (id int PRIMARY KEY, amount int NOT NULL DEFAULT 0); \
                 INSERT INTO {schema}.account SELECT generate_series(1, 100)"
            ))
            .unwrap();
    }
    client
}

fn amounts(client: &mut Client, schema: &str) -> Vec<i32> {
    let query = format!("SELECT amount FROM {schema}.account ORDER BY id");
    client.query(&query, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn prepared(cluster: &Cluster, node: usize) -> Vec<String> {
    let rows =
        cluster.connect_to_node(node).query("SELECT gid FROM pg_prepared_xacts", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Waits until no node has a prepared transaction and no commit record is left.
fn settled(cluster: &Cluster) {
    wait_until("recovery is done", BOUND, || {
        let left = [prepared(cluster, 1), prepared(cluster, 2)].concat();
        let query = "SELECT count(*) FROM helios.transaction";
        let records: i64 = cluster.connect().query_one(query, &[]).unwrap().get(0);
        if left.is_empty() && records == 0 {
            Ok(())
        } else {
            Err(format!("{left:?}, {records} records"))
        }
    });
}

#[test]
fn a_transaction_on_two_nodes_is_all_or_nothing() {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '200ms'"]);
    let mut client = accounts(&cluster);
    let transfer = "BEGIN; UPDATE one.account SET amount = amount - 1 WHERE id = 1; \
                    UPDATE two.account SET amount = amount + 1 WHERE id = 1;";
    client.batch_execute(&format!("{transfer} COMMIT")).unwrap();
    client.batch_execute(&format!("{transfer} ROLLBACK")).unwrap();
    // A deferred constraint makes PREPARE TRANSACTION fail on the second node.
    client
        .batch_execute("CREATE TABLE two.late (i int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        .unwrap();
    let error = client
        .batch_execute(&format!("{transfer} INSERT INTO two.late VALUES (1), (1); COMMIT"))
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505");
    client.batch_execute("ROLLBACK").unwrap();
    assert_eq!((amounts(&mut client, "one")[0], amounts(&mut client, "two")[0]), (-1, 1));
    settled(&cluster);
}

#[test]
fn savepoints_and_exception_blocks_roll_back_on_the_node() {
    let cluster = Cluster::start(2);
    let mut client = accounts(&cluster);
    client
        .batch_execute(
            "DO $$ BEGIN FOR i IN 1..300 LOOP \
                 BEGIN INSERT INTO one.account VALUES (CASE WHEN i % 2 = 0 THEN 1 ELSE 1000 + i END); \
                 EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END $$",
        )
        .unwrap();
    assert_eq!(amounts(&mut client, "one").len(), 250);
    client.batch_execute("BEGIN; SAVEPOINT a; DELETE FROM one.account; SAVEPOINT b").unwrap();
    client
        .batch_execute("SELECT 1 / (id - id) FROM one.account WHERE id = 1 UNION ALL SELECT 1/0")
        .unwrap_err();
    client
        .batch_execute(
            "ROLLBACK TO a; UPDATE one.account SET amount = 7 WHERE id = 2; RELEASE a; COMMIT",
        )
        .unwrap();
    let now = amounts(&mut client, "one");
    assert_eq!((now.len(), now[1]), (250, 7));
}

#[test]
fn the_nodes_transaction_has_the_clients_properties() {
    let cluster = Cluster::start(2);
    let mut client = accounts(&cluster);
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").unwrap();
    let query = "SELECT current_setting('transaction_isolation') FROM one.account LIMIT 1";
    assert_eq!(client.query_one(query, &[]).unwrap().get::<_, String>(0), "repeatable read");
    cluster.connect().batch_execute("UPDATE one.account SET amount = 9").unwrap();
    assert_eq!(amounts(&mut client, "one")[0], 0, "the snapshot stays");
    client.batch_execute("COMMIT").unwrap();
}

#[test]
fn prepared_transactions_are_finished_by_their_records() {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '200ms'"]);
    let mut client = accounts(&cluster);
    let name = "SELECT format('helios_%s_%s_0_%s_', (SELECT id FROM helios.cluster), d.oid, \
                       pg_current_xact_id()) FROM pg_database d WHERE datname = current_database()";
    // Until this transaction ends, recovery leaves transactions prepared in its name alone.
    let mut deciding = client.transaction().unwrap();
    let name: String = deciding.query_one(name, &[]).unwrap().get(0);
    for (node, schema) in [(1, "one"), (2, "two")] {
        cluster
            .connect_to_node(node)
            .batch_execute(&format!(
                "BEGIN; UPDATE {schema}.account SET amount = 5; PREPARE TRANSACTION '{name}{node}'"
            ))
            .unwrap();
    }
    let insert = "INSERT INTO helios.transaction (gid, node) VALUES ($1, (SELECT id FROM helios.node WHERE name = 'node-1'))";
    deciding.execute(insert, &[&format!("{name}1")]).unwrap();
    deciding.commit().unwrap();
    // Make the launcher check for work.
    client.batch_execute("CREATE TABLE one.a (); CREATE TABLE two.b ()").unwrap();
    settled(&cluster);
    assert_eq!(amounts(&mut client, "one")[0], 5, "there was a record");
    assert_eq!(amounts(&mut client, "two")[0], 0, "there was none");
}

#[test]
fn recovery_does_not_wait_for_another_that_deletes_the_same_records() {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '1h'"]);
    let (mut other, mut client) = (cluster.connect(), cluster.connect());
    let records = "INSERT INTO helios.transaction (gid, node) \
                   SELECT 'helios_gone_' || name, id FROM helios.node WHERE name LIKE 'node-%'";
    client.batch_execute(records).unwrap();
    // Another recovery has deleted the record of one node, and has not committed yet.
    let delete = "DELETE FROM helios.transaction WHERE gid = 'helios_gone_node-1'";
    other.batch_execute(&format!("BEGIN; {delete}")).unwrap();
    client
        .batch_execute("SET statement_timeout = '20s'; SELECT helios_recover_transactions()")
        .unwrap();
    let left = "SELECT string_agg(gid, ' ') FROM helios.transaction";
    let left: String = client.query_one(left, &[]).unwrap().get(0);
    assert_eq!(left, "helios_gone_node-1");
    other.batch_execute("ROLLBACK").unwrap();
    client.batch_execute("SELECT helios_recover_transactions()").unwrap();
    settled(&cluster);
}

#[test]
fn transfers_stay_whole_while_servers_are_killed() {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '200ms'"]);
    let mut client = accounts(&cluster);
    let (stop, done) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for worker in 1..=4 {
            let (cluster, stop, done) = (&cluster, &stop, &done);
            scope.spawn(move || transfer_until(cluster, stop, done, worker));
        }
        let _stop = Stop(&stop);
        for node in [1, 2, 1] {
            let before = done.load(Ordering::Relaxed);
            wait_until("50 more transfers are done", BOUND, || {
                let now = done.load(Ordering::Relaxed);
                if now >= before + 50 { Ok(()) } else { Err(format!("{now} after {before}")) }
            });
            cluster.kill_node(node);
            cluster.start_node(node);
        }
    });
    settled(&cluster);
    let one = amounts(&mut client, "one");
    let two: Vec<i32> = amounts(&mut client, "two").iter().map(|amount| -amount).collect();
    assert_eq!(one, two);
    // A statement to a killed server without a response may or may not have been executed.
    let moved = -one.iter().sum::<i32>();
    let acknowledged = i32::try_from(done.into_inner()).unwrap();
    assert!(moved >= acknowledged, "{acknowledged} transfers were acknowledged, {moved} done");
}

/// Transfers between the nodes; the effect of killed servers on each is checked at the end.
fn transfer_until(cluster: &Cluster, stop: &AtomicBool, done: &AtomicU32, account: i32) {
    let mut client = cluster.connect();
    while !stop.load(Ordering::Relaxed) {
        let result = client.batch_execute(&format!(
            "BEGIN; UPDATE one.account SET amount = amount - 1 WHERE id = {account}; \
             UPDATE two.account SET amount = amount + 1 WHERE id = {account}; COMMIT"
        ));
        if let Err(error) = result {
            let code = error.code().expect("the coordinator's backend lives").code().to_owned();
            assert!(code.starts_with("08") || code.starts_with("57P"), "{error:?}");
            client.batch_execute("ROLLBACK").unwrap();
        } else {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Connecting to a node looks up a password in the catalogs, which must not make the transaction count as having written
/// here: it would be prepared and recorded unnecessarily.
#[test]
fn first_use_of_a_node_gives_the_transaction_no_id() {
    let cluster = Cluster::shared();
    cluster
        .connect()
        .batch_execute("CREATE SCHEMA first_use DISTRIBUTED; CREATE TABLE first_use.t (x int)")
        .unwrap();
    let mut fresh = cluster.connect();
    let mut transaction = fresh.transaction().unwrap();
    transaction.batch_execute("INSERT INTO first_use.t VALUES (1)").unwrap();
    let id: Option<String> =
        transaction.query_one("SELECT pg_current_xact_id_if_assigned()::text", &[]).unwrap().get(0);
    assert_eq!(id, None);
    transaction.commit().unwrap();
}
