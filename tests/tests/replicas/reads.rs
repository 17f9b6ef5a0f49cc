//! Reads from copies: which server they use, and how old the data is.

use helios_tests::{BOUND, Stop, wait_until};
use postgres::Client;

use crate::{cluster, in_step, replicate, stop_applying, text};

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id int PRIMARY KEY, v text); \
    INSERT INTO t.a VALUES (1, 'one'); CREATE FUNCTION t.f() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'; \
    CREATE SCHEMA other DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE other.a (id int PRIMARY KEY)";

/// The server on which a statement that reads the tenant runs.
#[track_caller]
fn ran_on(client: &mut Client, rest: &str) -> u16 {
    let select = format!("SELECT current_setting('port') FROM t.a {rest}");
    text(client, &select).first().expect("a row").parse().unwrap()
}

#[test]
fn reads_go_to_a_copy_and_nothing_else_does() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    let (primary, copy) = (cluster.node(1).port, cluster.node(2).port);
    assert_eq!(ran_on(&mut client, ""), primary);
    client.batch_execute("SET helios.read_from = 'any'").unwrap();
    assert_eq!(ran_on(&mut client, ""), copy);
    // Prepared, with parameters.
    let prepared = "SELECT current_setting('port') FROM t.a WHERE id = $1";
    let port: String = client.query_one(prepared, &[&1]).unwrap().get(0);
    assert_eq!(port, copy.to_string());
    assert_eq!(ran_on(&mut client, "FOR UPDATE"), primary);
    assert_eq!(ran_on(&mut client, "WHERE t.f() = 1"), primary);
    assert_eq!(ran_on(&mut client, "WHERE NOT EXISTS (SELECT FROM other.a)"), primary);
    client.batch_execute("BEGIN; INSERT INTO t.a VALUES (2, 'two')").unwrap();
    assert_eq!(ran_on(&mut client, ""), primary);
    client.batch_execute("COMMIT").unwrap();
    let returned = "UPDATE t.a SET v = 'zwei' WHERE id = 2 RETURNING current_setting('port')";
    assert_eq!(text(&mut client, returned), [primary.to_string()]);
    wait_until("the copy has it", BOUND, || {
        let seen = text(&mut client, "SELECT current_setting('port'), v FROM t.a WHERE id = 2");
        if seen == [format!("{copy}|zwei")] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    // An error is that of the statement itself.
    let error = client.simple_query("SELECT 1 / (id - 1) FROM t.a").map(|_| ()).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22012");
    client.batch_execute("RESET helios.read_from").unwrap();
    assert_eq!(ran_on(&mut client, ""), primary);
    replicate(&mut client, "t", 1);
    client.batch_execute("SET helios.read_from = 'any'").unwrap();
    assert_eq!(ran_on(&mut client, ""), primary);
}

#[test]
fn never_from_a_copy_beyond_the_bound() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    let (primary, copy) = (cluster.node(1).port, cluster.node(2).port);
    client
        .batch_execute("SET helios.read_from = 'any'; SET helios.max_replica_lag = '2s'")
        .unwrap();
    assert_eq!(ran_on(&mut client, ""), copy);
    let mut writer = cluster.connect();
    let mut holder = stop_applying(&cluster, 2, "t.a");
    let began = std::time::Instant::now();
    writer.batch_execute("UPDATE t.a SET v = 'new' WHERE id = 1").unwrap();
    // As long as reads come from the copy, they may be old, but no older than the limit.
    wait_until("reads have left the copy", BOUND, || {
        let sent = began.elapsed();
        let seen = text(&mut client, "SELECT current_setting('port'), v FROM t.a WHERE id = 1");
        match seen == [format!("{primary}|new")] {
            true => Ok(()),
            false => {
                assert!(sent.as_millis() <= 2000, "{seen:?} after {sent:?}");
                Err(format!("{seen:?}"))
            }
        }
    });
    holder.batch_execute("ROLLBACK").unwrap();
    wait_until("reads are back on the copy", BOUND, || {
        let seen = text(&mut client, "SELECT current_setting('port'), v FROM t.a WHERE id = 1");
        if seen == [format!("{copy}|new")] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn a_copy_that_dies_costs_no_error() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    client.batch_execute("SET helios.read_from = 'any'").unwrap();
    assert_eq!(ran_on(&mut client, ""), cluster.node(2).port);
    cluster.kill_node(2);
    for _ in 0..20 {
        assert_eq!(ran_on(&mut client, ""), cluster.node(1).port);
        let rows = client.query("SELECT v FROM t.a WHERE id = $1", &[&1]).unwrap();
        assert_eq!(rows[0].get::<_, String>(0), "one");
    }
    cluster.start_node(2);
    in_step(&mut client, "t", 1);
    wait_until("reads are back on the copy", BOUND, || {
        let port = ran_on(&mut client, "");
        if port == cluster.node(2).port { Ok(()) } else { Err(port.to_string()) }
    });
}

/// Copies are created and dropped while they are read: nobody sees a table that is missing or incomplete.
#[test]
fn reads_while_copies_come_and_go() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    client.batch_execute("INSERT INTO t.a SELECT i, 'x' FROM generate_series(2, 1000) i").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut reader = cluster.connect();
                    reader.batch_execute("SET helios.read_from = 'any'").unwrap();
                    let mut ports = std::collections::BTreeSet::new();
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let seen =
                            text(&mut reader, "SELECT current_setting('port'), count(*) FROM t.a");
                        let (port, count) = seen[0].split_once('|').unwrap();
                        assert_eq!(count, "1000");
                        ports.insert(port.to_owned());
                    }
                    ports.len()
                })
            })
            .collect();
        let halt = Stop(&stop);
        for _ in 0..3 {
            replicate(&mut client, "t", 2);
            std::thread::sleep(std::time::Duration::from_millis(300));
            replicate(&mut client, "t", 1);
        }
        drop(halt);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 2, "both copies were read");
        }
    });
}
