//! Commits that wait for copies, and the behavior if a copy does not confirm.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{SETTINGS, cluster, in_step, replicate, stop_applying, text};

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id int PRIMARY KEY, v text); \
    CREATE SCHEMA other DISTRIBUTED ON NODE \"node-2\"; CREATE TABLE other.a (id int PRIMARY KEY); \
    CREATE PROCEDURE t.fill(n int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t.a VALUES (n, 'procedure'); END $$;";

/// Warnings with their SQLSTATEs.
type Warnings = Arc<Mutex<Vec<String>>>;

/// Connects a client that stores the warnings it receives.
fn listening(cluster: &Cluster) -> (Client, Warnings) {
    let warnings = Warnings::default();
    let heard = Arc::clone(&warnings);
    let client = cluster
        .coordinator()
        .config(DATABASE)
        .notice_callback(move |notice| {
            if notice.severity() == "WARNING" {
                let line = format!("{} {}", notice.code().code(), notice.message());
                heard.lock().unwrap().push(line);
            }
        })
        .connect(postgres::NoTls)
        .unwrap();
    (client, warnings)
}

#[test]
fn what_is_acknowledged_is_on_the_copy() {
    let cluster = cluster(2);
    let (mut client, warnings) = listening(&cluster);
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    client
        .batch_execute("SET helios.synchronous_replicas = on; SET helios.replica_timeout = '60s'")
        .unwrap();
    let mut there = cluster.connect_to_node(2);
    let mut check = |n: i32| {
        let found = there.query("SELECT FROM t.a WHERE id = $1", &[&n]).unwrap();
        assert_eq!(found.len(), 1, "row {n} is not on the copy");
    };
    for n in 0..60 {
        match n % 6 {
            0 => client.batch_execute(&format!("INSERT INTO t.a VALUES ({n}, 'text')")).unwrap(),
            1 => drop(client.execute("INSERT INTO t.a VALUES ($1, 'prepared')", &[&n]).unwrap()),
            2 => {
                let mut block = client.transaction().unwrap();
                block.execute("INSERT INTO t.a VALUES ($1, 'block')", &[&n]).unwrap();
                block.commit().unwrap();
            }
            3 => {
                let both = format!(
                    "BEGIN; INSERT INTO t.a VALUES ({n}); INSERT INTO other.a VALUES ({n}); COMMIT"
                );
                client.batch_execute(&both).unwrap();
            }
            4 => {
                let mut writer = client.copy_in("COPY t.a FROM STDIN").unwrap();
                std::io::Write::write_all(&mut writer, format!("{n}\tcopy\n").as_bytes()).unwrap();
                writer.finish().unwrap();
            }
            _ => client.batch_execute(&format!("CALL t.fill({n})")).unwrap(),
        }
        check(n);
    }
    assert_eq!(*warnings.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_copy_that_does_not_confirm_is_degraded_until_it_is_back() {
    let cluster = Cluster::with_settings(2, &SETTINGS);
    let (mut client, warnings) = listening(&cluster);
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    client
        .batch_execute("SET helios.synchronous_replicas = on; SET helios.replica_timeout = '700ms'")
        .unwrap();
    let mut holder = stop_applying(&cluster, 2, "t.a");
    let began = Instant::now();
    client.batch_execute("INSERT INTO t.a VALUES (1, 'first')").unwrap();
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(700), "{waited:?}");
    let heard = std::mem::take(&mut *warnings.lock().unwrap());
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].starts_with("01000 ") && heard[0].contains("node-2"), "{heard:?}");
    assert_eq!(text(&mut client, "SELECT state FROM helios_replicas"), ["degraded"]);
    // Nobody waits for it any more, and nobody is warned again.
    client
        .batch_execute("SET helios.replica_timeout = '1h'; INSERT INTO t.a VALUES (2, 'second')")
        .unwrap();
    assert_eq!(*warnings.lock().unwrap(), Vec::<String>::new());
    assert_eq!(text(&mut client, "SELECT state FROM helios_replicas"), ["degraded"]);
    holder.batch_execute("ROLLBACK").unwrap();
    wait_until("the copy is in sync again", BOUND, || {
        let state = text(&mut client, "SELECT state FROM helios_replicas");
        if state == ["in_step"] { Ok(()) } else { Err(format!("{state:?}")) }
    });
    client.batch_execute("INSERT INTO t.a VALUES (3, 'third')").unwrap();
    let mut there = cluster.connect_to_node(2);
    assert_eq!(
        text(&mut there, "SELECT string_agg(v, ' ' ORDER BY id) FROM t.a"),
        ["first second third"]
    );
    assert_eq!(*warnings.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn waiting_can_be_cancelled_and_the_commit_stands() {
    let cluster = cluster(2);
    let (mut client, warnings) = listening(&cluster);
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    client
        .batch_execute("SET helios.synchronous_replicas = on; SET helios.replica_timeout = '1h'")
        .unwrap();
    let holder = stop_applying(&cluster, 2, "t.a");
    let cancel = client.cancel_token();
    let mut observer = cluster.connect();
    std::thread::scope(|scope| {
        let writer =
            scope.spawn(|| client.batch_execute("INSERT INTO t.a VALUES (1, 'cancelled')"));
        wait_until("the row is committed", BOUND, || {
            let rows = text(&mut observer, "SELECT count(*) FROM t.a");
            if rows == ["1"] { Ok(()) } else { Err(format!("{rows:?}")) }
        });
        wait_until("the writer goes on", BOUND, || {
            cancel.cancel_query(postgres::NoTls).unwrap();
            if writer.is_finished() { Ok(()) } else { Err("it waits".into()) }
        });
        writer.join().unwrap().unwrap();
    });
    let heard = warnings.lock().unwrap().clone();
    assert!(heard.len() == 1 && heard[0].starts_with("01000 "), "{heard:?}");
    drop(holder);
}

/// The node that has committed is lost before the copy has confirmed. Then the client is not told that all is well; if
/// several nodes have committed already, it gets a warning.
#[test]
fn who_waits_for_a_copy_is_told_when_the_primary_is_lost() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    let cases = [
        ("INSERT INTO t.a VALUES (1, 'text')", true),
        ("BEGIN; INSERT INTO t.a VALUES (2, 'block'); COMMIT", true),
        ("CALL t.fill(3)", true),
        (
            "BEGIN; INSERT INTO t.a VALUES (4, 'both'); INSERT INTO other.a VALUES (4); COMMIT",
            false,
        ),
    ];
    for (number, (statements, is_refused)) in (1..).zip(cases) {
        let (mut writer, warnings) = listening(&cluster);
        writer
            .batch_execute(
                "SET helios.synchronous_replicas = on; SET helios.replica_timeout = '1h'",
            )
            .unwrap();
        let holder = stop_applying(&cluster, 2, "t.a");
        let result = std::thread::scope(|scope| {
            let writing = scope.spawn(|| writer.batch_execute(statements));
            wait_until("the row is committed", BOUND, || {
                let rows = text(&mut cluster.connect_to_node(1), "SELECT max(id) FROM t.a");
                if rows == [number.to_string()] { Ok(()) } else { Err(format!("{rows:?}")) }
            });
            at_the_question(&cluster, "pid"); // once it waits
            cluster.kill_node(1);
            writing.join().unwrap()
        });
        let code =
            result.as_ref().err().map(|error| error.code().map(|code| code.code().to_owned()));
        let heard = warnings.lock().unwrap().clone();
        match is_refused {
            true => assert_eq!(code, Some(Some("08007".into())), "{statements}: {result:?}"),
            false => {
                assert!(result.is_ok() && heard.len() == 1, "{statements}: {result:?} {heard:?}")
            }
        }
        drop(holder);
        cluster.start_node(1);
        in_step(&mut client, "t", 1);
        if is_refused {
            writer.batch_execute("ROLLBACK").unwrap();
        }
        wait_until("the copy has caught up", BOUND, || {
            let rows = text(&mut cluster.connect_to_node(2), "SELECT max(id) FROM t.a");
            if rows == [number.to_string()] { Ok(()) } else { Err(format!("{rows:?}")) }
        });
    }
}

/// Calls `work` for the node's session that waits for a copy, once there is one.
fn at_the_question(cluster: &Cluster, what: &str) {
    wait_until("the node is asked for the copy", BOUND, || {
        let asked = format!(
            "SELECT {what} FROM pg_stat_activity WHERE query LIKE '%wait_for_replicas(ARRAY%' \
             AND state = 'active' AND pid <> pg_backend_pid()"
        );
        let seen = text(&mut cluster.connect_to_node(1), &asked);
        if seen.len() == 1 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// The node is alive, so the transaction is, too.
#[test]
fn a_question_that_is_cancelled_on_the_node_gives_a_warning() {
    let cluster = cluster(2);
    let (mut writer, warnings) = listening(&cluster);
    writer.batch_execute(TENANT).unwrap();
    replicate(&mut writer, "t", 2);
    writer
        .batch_execute("SET helios.synchronous_replicas = on; SET helios.replica_timeout = '1h'")
        .unwrap();
    let holder = stop_applying(&cluster, 2, "t.a");
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.batch_execute("INSERT INTO t.a VALUES (1, 'there')"));
        at_the_question(&cluster, "pg_cancel_backend(pid)");
        writing.join().unwrap().unwrap();
    });
    let heard = warnings.lock().unwrap().clone();
    assert!(heard.len() == 1 && heard[0].starts_with("01000 "), "{heard:?}");
    assert_eq!(text(&mut writer, "SELECT count(*) FROM t.a"), ["1"]);
    drop(holder);
}
