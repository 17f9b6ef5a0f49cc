//! Sessions of every kind live through a switch, a rollback and another switch without an error.

use std::io::Write;

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

use crate::{SETTINGS, assert_clean, begin, finish, roll_back, shown, switch, text, wait};

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; \
    CREATE TABLE t.a (id int PRIMARY KEY, v text); INSERT INTO t.a SELECT i, 'v' FROM generate_series(1, 1000) i; \
    CREATE FUNCTION t.walk(pause float8) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint := 0; r record; \
      BEGIN FOR r IN SELECT id FROM t.a WHERE id <= 20 ORDER BY id LOOP PERFORM pg_sleep(pause); n := n + r.id; END LOOP; RETURN n; END $$;";

fn tenant() -> (Cluster, Client) {
    // Each idle session here has a session on every node that it has used.
    let settings = [&SETTINGS[..], &["max_connections = 400"]].concat();
    let cluster = Cluster::with_settings(2, &settings);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    (cluster, client)
}

const COUNT: &str = "SELECT count(*) FROM t.a";

/// Sessions between transactions that have cached state about the schema's node: prepared statements, holdable
/// cursors, plans of functions.
#[test]
fn two_hundred_idle_sessions() {
    let (cluster, mut client) = tenant();
    let mut idle: Vec<Client> = (0..200).map(|_| cluster.connect()).collect();
    for (i, one) in idle.iter_mut().enumerate() {
        match i % 4 {
            0 => assert_eq!(text(one, COUNT), ["1000"]),
            1 => one.batch_execute("PREPARE p (int) AS SELECT v FROM t.a WHERE id = $1; EXECUTE p (1)").unwrap(),
            2 => one.batch_execute("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT id FROM t.a ORDER BY id; FETCH 5 FROM c; COMMIT").unwrap(),
            _ => assert_eq!(text(one, "SELECT t.walk(0)"), ["210"]),
        }
    }
    let mut prepared = cluster.connect();
    let statement = prepared.prepare("SELECT v FROM t.a WHERE id = $1").unwrap();
    let insert = prepared.prepare("INSERT INTO t.a VALUES ($1, 'p')").unwrap();
    let mut use_all = |cursor_at: usize, rows: usize| {
        for (i, one) in idle.iter_mut().enumerate() {
            match i % 4 {
                0 => assert_eq!(text(one, COUNT), [rows.to_string()]),
                1 => assert_eq!(text(one, "EXECUTE p (2)"), ["v"]),
                2 => assert_eq!(text(one, "FETCH 1 FROM c"), [cursor_at.to_string()]),
                _ => assert_eq!(text(one, "SELECT t.walk(0)"), ["210"]),
            }
        }
        let row = prepared.query_one(&statement, &[&7]).unwrap();
        assert_eq!(row.get::<_, String>(0), "v");
        let id = i32::try_from(10_000 + rows).unwrap();
        assert_eq!(prepared.execute(&insert, &[&id]).unwrap(), 1);
    };
    let id = switch(&mut client, "t", "node-2");
    use_all(6, 1000);
    roll_back(&mut client, id);
    use_all(7, 1001);
    let id = switch(&mut client, "t", "node-2");
    finish(&mut client, id);
    use_all(8, 1002);
    assert_eq!(text(&mut client, COUNT), ["1003"]);
    drop(idle);
    assert_clean(&cluster, &["t"]);
}

/// Sessions in the middle of a transaction. The switch waits for them without blocking others, whatever
/// they are doing, and each completes normally.
#[test]
fn transactions_under_way() {
    let (cluster, mut client) = tenant();
    let open = |begin: &str| {
        let mut one = cluster.connect();
        one.batch_execute(begin).unwrap();
        one
    };
    let mut committed = open("BEGIN; SELECT count(*) FROM t.a");
    let mut repeatable = open("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t.a");
    let mut serializable =
        open("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT count(*) FROM t.a");
    let mut cursor =
        open("BEGIN; DECLARE c CURSOR FOR SELECT id FROM t.a ORDER BY id; FETCH 5 FROM c");
    let mut holding = open(
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT id FROM t.a ORDER BY id; FETCH 5 FROM c",
    );
    let mut saved = open("BEGIN; SAVEPOINT s; SELECT count(*) FROM t.a; ROLLBACK TO s");
    let mut copying = cluster.connect();
    let mut copy = copying.copy_in("COPY t.a FROM STDIN").unwrap();
    copy.write_all(b"5001\tcopied\n").unwrap();
    copy.flush().unwrap();
    let mut direct = cluster.connect_to_node(1);
    direct.batch_execute("BEGIN; SELECT count(*) FROM t.a").unwrap();
    let mut walker = cluster.connect();

    let id = std::thread::scope(|scope| {
        let walk = scope.spawn(move || text(&mut walker, "SELECT t.walk(0.1)"));
        let id = begin(&mut client, "t", "node-2");
        wait_until("the migration waits for them", BOUND, || {
            let seen = shown(&mut client, id);
            if seen.contains("waiting for") { Ok(()) } else { Err(seen) }
        });
        let mut other = cluster.connect();
        other
            .batch_execute(
                "SET statement_timeout = '10s'; INSERT INTO t.a VALUES (5002, 'meanwhile')",
            )
            .unwrap();
        copy.write_all(b"5003\tcopied\n").unwrap();
        assert_eq!(copy.finish().unwrap(), 2);
        assert_eq!(walk.join().unwrap(), ["210"]);
        id
    });
    assert_eq!(text(&mut committed, COUNT), ["1003"]);
    committed.batch_execute("INSERT INTO t.a VALUES (5004, 'late'); COMMIT").unwrap();
    for one in [&mut repeatable, &mut serializable] {
        assert_eq!(text(one, COUNT), ["1000"]);
        one.batch_execute("COMMIT").unwrap();
    }
    assert_eq!(text(&mut cursor, "FETCH 2 FROM c; CLOSE c"), ["6", "7"]);
    cursor.batch_execute("COMMIT").unwrap();
    assert_eq!(text(&mut holding, "FETCH 1 FROM c"), ["6"]);
    holding.batch_execute("COMMIT").unwrap();
    saved.batch_execute("INSERT INTO t.a VALUES (5005, 'saved'); COMMIT").unwrap();
    // A session that only reads the old copy on the node directly blocks nobody.
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    assert_eq!(text(&mut direct, "SELECT count(*) > 0 FROM t.a"), ["t"]);
    direct.batch_execute("COMMIT").unwrap();
    // Sessions continue where the schema is now.
    for one in [&mut committed, &mut repeatable, &mut cursor, &mut saved, &mut copying] {
        assert_eq!(text(one, COUNT), ["1005"]);
    }
    assert_eq!(text(&mut holding, "FETCH 2 FROM c"), ["7", "8"]);
    finish(&mut client, id);
    assert_eq!(text(&mut client, COUNT), ["1005"]);
    assert_clean(&cluster, &["t"]);
}
