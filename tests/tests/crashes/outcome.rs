//! The response to COMMIT is lost: the client is told so, and can query the outcome of its transaction.

use std::io::Write;

use helios_tests::{Cluster, Proxy, wait_until};
use postgres::Client;

use crate::{settled, tables, values};

fn status(client: &mut Client, gid: &str) -> String {
    client.query_one("SELECT helios_transaction_status($1)", &[&gid]).unwrap().get(0)
}

/// The transaction name in the error that reports an unknown outcome.
#[track_caller]
fn named(error: &postgres::Error) -> String {
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "08007", "{error:?}");
    let detail = error.detail().unwrap_or_default();
    let gid = detail.split('"').nth(1).unwrap_or_else(|| panic!("no name in {error:?}"));
    assert!(error.hint().unwrap_or_default().contains(gid), "{error:?}");
    gid.to_owned()
}

#[test]
fn lost_reply_to_commit_can_be_asked_for() {
    let cluster = Cluster::with_failpoints(2, &[]);
    let mut observer = tables(&cluster);
    let proxy = Proxy::of_node(&cluster, 1);
    for (committed, work) in [
        (true, "UPDATE one.t SET x = x + 1 WHERE id = 1"),
        (true, "SELECT * FROM two.t; UPDATE one.t SET x = x + 1 WHERE id = 1 RETURNING x"),
        (true, "SAVEPOINT a; UPDATE one.t SET x = x + 1 WHERE id = 1; RELEASE a"),
        (false, "UPDATE one.t SET x = x + 1 WHERE id = 1"),
    ] {
        let mut client = cluster.connect();
        client.batch_execute(&format!("BEGIN; {work}")).unwrap();
        let before = values(&mut observer)[0];
        proxy.wait_for_answers();
        let gid = std::thread::scope(|scope| {
            let _lost = committed.then(|| proxy.lose_answers());
            if !committed {
                cluster.failpoint("commit.before", "hang", 0, 0);
            }
            let commit = scope.spawn(|| client.batch_execute("COMMIT").unwrap_err());
            if committed {
                let mut node = cluster.connect_to_node(1);
                wait_until("the node has committed", crate::RECOVERED, || {
                    let x: i32 =
                        node.query_one("SELECT x FROM one.t WHERE id = 1", &[]).unwrap().get(0);
                    if x == before + 1 { Ok(()) } else { Err(x.to_string()) }
                });
            } else {
                cluster.wait_for_failpoint("commit.before", crate::RECOVERED);
            }
            proxy.cut();
            proxy.pass_answers();
            cluster.failpoint("commit.before", "off", 0, 0);
            named(&commit.join().unwrap())
        });
        let expected = if committed { "committed" } else { "aborted" };
        wait_until("the node reports the outcome", crate::RECOVERED, || {
            let status = status(&mut observer, &gid);
            if status == expected { Ok(()) } else { Err(status) }
        });
        assert_eq!(values(&mut observer)[0], before + i32::from(committed));
        // The session continues.
        client.batch_execute("ROLLBACK; SELECT * FROM one.t").unwrap();
    }
    settled(&cluster);
}

#[test]
fn lost_reply_of_a_statement_alone_in_its_transaction() {
    let cluster = Cluster::with_failpoints(1, &[]);
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE SCHEMA one DISTRIBUTED; CREATE TABLE one.t (x int); SELECT 1")
        .unwrap();
    let proxy = Proxy::of_node(&cluster, 1);
    client.batch_execute("SELECT * FROM one.t").unwrap();
    let mut node = cluster.connect_to_node(1);
    proxy.wait_for_answers();
    std::thread::scope(|scope| {
        let _lost = proxy.lose_answers();
        let insert = scope.spawn(|| client.batch_execute("INSERT INTO one.t VALUES (1)"));
        wait_until("the node has committed", crate::RECOVERED, || {
            let rows: i64 = node.query_one("SELECT count(*) FROM one.t", &[]).unwrap().get(0);
            if rows == 1 { Ok(()) } else { Err(rows.to_string()) }
        });
        proxy.cut();
        proxy.pass_answers();
        let error = insert.join().unwrap().unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "08007", "{error:?}");
        assert!(error.hint().unwrap().contains("helios.name_single_writes"), "{error:?}");
    });
}

/// The node reports its transaction ID before it commits; then its response to COMMIT is lost.
#[test]
fn single_write_has_a_name_where_that_is_wanted() {
    let cluster = Cluster::with_failpoints(1, &[]);
    let mut observer = cluster.connect();
    let script = "CREATE SCHEMA one DISTRIBUTED; CREATE TABLE one.t (x int); \
                  CREATE FUNCTION one.wait() RETURNS trigger LANGUAGE plpgsql AS \
                  'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'; \
                  CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON one.t \
                  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION one.wait()";
    observer.batch_execute(script).unwrap();
    let proxy = Proxy::of_node(&cluster, 1);
    let mut node = cluster.connect_to_node(1);
    for (copy, expected) in [(false, "committed"), (true, "committed"), (false, "aborted")] {
        let mut client = cluster.connect();
        client.batch_execute("SET helios.name_single_writes = on").unwrap();
        client.batch_execute("VACUUM one.t").unwrap(); // must be the first statement
        node.batch_execute("SELECT pg_advisory_lock(7)").unwrap();
        let answers = proxy.answers();
        let gid = std::thread::scope(|scope| {
            let insert = scope.spawn(|| {
                if !copy {
                    return client.batch_execute("INSERT INTO one.t VALUES (1)").unwrap_err();
                }
                let mut writer = client.copy_in("COPY one.t FROM STDIN").unwrap();
                writer.write_all(b"1\n").unwrap();
                writer.finish().unwrap_err()
            });
            let waiting =
                "SELECT min(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
            let mut pid = None;
            wait_until("the node is about to commit", crate::RECOVERED, || {
                pid = node.query_one(waiting, &[]).unwrap().get::<_, Option<i32>>(0);
                pid.map(drop).ok_or_else(|| "nobody waits".to_owned())
            });
            // It has reported its transaction ID, which may still be in transit.
            wait_until("the name is passed on", crate::RECOVERED, || {
                if proxy.answers() > answers { Ok(()) } else { Err("not yet".to_owned()) }
            });
            let _lost = proxy.lose_answers();
            if expected == "aborted" {
                node.query("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
            } else {
                node.batch_execute("SELECT pg_advisory_unlock(7)").unwrap();
                wait_until("the node has committed", crate::RECOVERED, || {
                    let query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
                    let left: i64 = node.query_one(query, &[]).unwrap().get(0);
                    if left == 0 { Ok(()) } else { Err(left.to_string()) }
                });
            }
            proxy.cut();
            proxy.pass_answers();
            named(&insert.join().unwrap())
        });
        // The node's process may still be exiting.
        wait_until(
            &format!("the node knows that it has {expected} (COPY: {copy})"),
            crate::RECOVERED,
            || {
                let status = status(&mut observer, &gid);
                if status == expected { Ok(()) } else { Err(status) }
            },
        );
        node.batch_execute("SELECT pg_advisory_unlock_all()").unwrap();
        // The name for one statement is not that of the next.
        client.batch_execute("SET helios.name_single_writes = off; TABLE one.t").unwrap();
    }
}

#[test]
fn names_that_are_nobodys_are_refused() {
    let cluster = Cluster::with_failpoints(2, &[]);
    let mut client = tables(&cluster);
    let query = "SELECT c.id, d.oid FROM helios.cluster c, pg_database d \
                 WHERE datname = current_database()";
    let row = client.query_one(query, &[]).unwrap();
    let (id, database): (i64, u32) = (row.get(0), row.get(1));
    for name in [
        String::new(),
        "mine".to_owned(),
        format!("helios_{}_{database}_0_1000_1", id - 1),
        format!("helios_{id}_1_0_1000_1"),
        format!("helios_{id}_{database}_0_1000"),
        format!("helios_{id}_{database}_0_99999999999_1"),
    ] {
        let query = "SELECT helios_transaction_status($1)";
        let error = client.query(query, &[&name]).unwrap_err();
        assert_eq!(error.code().unwrap().code(), "22023", "{name}: {error:?}");
        assert!(error.as_db_error().unwrap().hint().is_some());
    }
    // A name of this cluster that was never committed.
    assert_eq!(status(&mut client, &format!("helios_{id}_{database}_0_4000000000_1")), "aborted");
    assert_eq!(status(&mut client, &format!("helios_{id}_{database}_node1_4000000000")), "aborted");
    let error = client
        .query(&format!("SELECT helios_transaction_status('helios_{id}_{database}_node99_7')"), &[])
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42704");
    // A node that is down cannot answer.
    cluster.kill_node(1);
    let error = client
        .query(&format!("SELECT helios_transaction_status('helios_{id}_{database}_node1_7')"), &[])
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "08001");
}
