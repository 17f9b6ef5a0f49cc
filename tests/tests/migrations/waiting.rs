//! Statements that wait while their schema moves to or from this server find it in its new place.

use std::io::{Read, Write};

use helios_tests::{BOUND, Cluster, text, wait_until};
use postgres::{Client, Error};

use crate::{Opening, cluster_with_failpoints, finish, last_migration, node_of, shown, wait};

/// One table for each statement that changes something.
const TENANT: &str = "CREATE TABLE t.many AS SELECT i, repeat('x', 100) AS v FROM generate_series(1, 20000) i; \
    CREATE UNLOGGED TABLE t.u (id int); INSERT INTO t.u VALUES (1), (2); \
    CREATE TABLE t.a (id int PRIMARY KEY, v text, at timestamptz DEFAULT now()); INSERT INTO t.a SELECT i, 'old' FROM generate_series(1, 100) i; \
    CREATE TABLE t.b (LIKE t.a INCLUDING ALL); INSERT INTO t.b SELECT * FROM t.a; \
    CREATE TABLE t.c (LIKE t.a INCLUDING ALL); CREATE TABLE t.d (LIKE t.a INCLUDING ALL); CREATE TABLE t.e (LIKE t.a INCLUDING ALL); \
    CREATE TABLE t.f (LIKE t.a INCLUDING ALL); INSERT INTO t.f VALUES (1), (2), (3); CREATE SEQUENCE t.s START 42; \
    CREATE PROCEDURE t.p(n int) LANGUAGE plpgsql AS 'BEGIN INSERT INTO t.d VALUES (n, ''called''); END'; \
    CREATE VIEW t.w AS SELECT count(*) AS n FROM t.u";

/// A waiting statement, and its result.
type Waiting = fn(&mut Client) -> Result<String, Error>;

fn shown_number(number: u64) -> Result<String, Error> {
    Ok(number.to_string())
}

/// The single value returned by a query.
fn one(client: &mut Client, query: &str) -> Result<String, Error> {
    Ok(client.query_one(query, &[])?.get::<_, i64>(0).to_string())
}

/// The statements, and the results expected.
const STATEMENTS: [(&str, Waiting, &str); 16] = [
    (
        "a simple query",
        |c| c.simple_query("SELECT count(*) FROM t.u").map(|rows| format!("{:?}", rows.len())),
        "3",
    ),
    ("a query", |c| one(c, "SELECT n FROM t.w"), "2"),
    ("a plan that was kept", |c| one(c, "EXECUTE kept(0)"), "2"),
    (
        "more rows than memory",
        |c| {
            c.batch_execute("SET work_mem = '64kB'")?;
            let rows = c.query("SELECT i, v FROM t.many ORDER BY i", &[])?;
            let whole = rows.iter().enumerate().all(|(at, row)| {
                row.get::<_, i32>(0) == at as i32 + 1 && row.get::<_, &str>(1).len() == 100
            });
            Ok(format!("{} {whole}", rows.len()))
        },
        "20000 true",
    ),
    (
        "values of several types",
        |c| {
            let insert = "INSERT INTO t.c VALUES ($1, $2, $3) RETURNING id, v, at";
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
            let row = c.query_one(insert, &[&7, &Some("seven"), &at])?;
            let same = row.get::<_, std::time::SystemTime>(2) == at;
            Ok(format!("{} {} {same}", row.get::<_, i32>(0), row.get::<_, &str>(1)))
        },
        "7 seven true",
    ),
    (
        "a number of changed rows",
        |c| shown_number(c.execute("UPDATE t.a SET v = $1 WHERE id <= $2", &[&"new", &10])?),
        "10",
    ),
    (
        "a transaction",
        |c| {
            let mut block = c.transaction()?;
            let changed = block.execute("DELETE FROM t.b WHERE id > 50", &[])?;
            let mut back = block.transaction()?;
            let gone = back.query("DELETE FROM t.b RETURNING id", &[])?.len();
            back.rollback()?;
            block.commit()?;
            Ok(format!("{changed} {gone}"))
        },
        "50 50",
    ),
    (
        "a cursor",
        |c| {
            let mut block = c.transaction()?;
            block
                .batch_execute("DECLARE rows SCROLL CURSOR FOR SELECT i FROM t.many ORDER BY i")?;
            let forward = block.query("FETCH 5 FROM rows", &[])?.len();
            let back = block.query_one("FETCH PRIOR FROM rows", &[])?.get::<_, i32>(0);
            block.commit()?;
            Ok(format!("{forward} {back}"))
        },
        "5 4",
    ),
    (
        "a procedural language",
        |c| {
            c.batch_execute(
                "DO $$ DECLARE n int := 5; found bigint; BEGIN \
                   INSERT INTO t.e VALUES (n, 'variable') RETURNING id + 1 INTO n; \
                   SELECT count(*) INTO found FROM t.e WHERE id < n; \
                   INSERT INTO t.e VALUES (n, found::text); END $$",
            )?;
            one(c, "SELECT sum(id * v::int) FROM t.e WHERE v = '1'")
        },
        "6",
    ),
    (
        "a variable with a modifier, first",
        |c| {
            let work = "DO $$ DECLARE exact numeric(10, 2) := 1.5; pair record; BEGIN \
                SELECT exact AS v, id INTO pair FROM t.u WHERE id = 1; ASSERT pair.v = 1.50; END $$";
            c.batch_execute(work).map(|()| "done".into())
        },
        "done",
    ),
    (
        "parts of a statement that change something",
        |c| {
            one(
                c,
                "WITH gone AS (DELETE FROM t.f WHERE id > 1 RETURNING id) SELECT sum(id) FROM gone",
            )
        },
        "5",
    ),
    ("a sequence", |c| one(c, "SELECT nextval('t.s')"), "42"),
    ("a procedure", |c| c.batch_execute("CALL t.p(9)").map(|()| "done".into()), "done"),
    (
        "COPY from the client",
        |c| {
            let mut writer = c.copy_in("COPY t.d (id, v) FROM STDIN")?;
            writer.write_all(b"1\tone\n2\ttwo\n").expect("rows are taken");
            shown_number(writer.finish()?)
        },
        "2",
    ),
    (
        "an error, with all that it says",
        |c| {
            let error = c.batch_execute("INSERT INTO t.a VALUES (1)").expect_err("there is one");
            let error = error.as_db_error().expect("from the server");
            let of = [error.schema(), error.table(), error.constraint(), error.detail()];
            Ok(format!("{} {:?}", error.code().code(), of.map(Option::unwrap_or_default)))
        },
        "23505 [\"t\", \"a\", \"a_pkey\", \"Key (id)=(1) already exists.\"]",
    ),
    (
        "nothing that there is no right to",
        |c| {
            let error =
                c.batch_execute("SET ROLE pg_monitor; SELECT FROM t.u").expect_err("no right");
            Ok(error.code().expect("from the server").code().to_owned())
        },
        "42501",
    ),
];

/// These could see the rows of the tables here as of the start of the transaction or statement: none.
const SENT_BACK: [Waiting; 2] = [
    |c| {
        c.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
        one(c, "SELECT count(*) FROM t.many")
    },
    |c| {
        let mut rows = String::new();
        c.copy_out("COPY t.many TO STDOUT")?.read_to_string(&mut rows).expect("text");
        Ok(rows)
    },
];

/// Moves the schema while this many of these wait, and the others need not; returns their results.
fn while_it_moves(
    cluster: &Cluster,
    how: &str,
    all: &[Waiting],
    wait_for_it: usize,
) -> Vec<Result<String, Error>> {
    let place = "migration.fence.after";
    let mut client = cluster.connect();
    let mut sessions: Vec<Client> = all.iter().map(|_| cluster.connect()).collect();
    for session in &mut sessions {
        session
            .batch_execute(
                "SET plan_cache_mode = force_generic_plan; PREPARE kept(int) AS SELECT count(*) FROM t.u WHERE id > $1; \
                 EXECUTE kept(0)",
            )
            .unwrap();
    }
    cluster.failpoint(place, "hang", 0, 0);
    client.batch_execute(how).unwrap();
    let id = last_migration(&mut client);
    cluster.wait_for_failpoint(place, BOUND);
    let outcomes = std::thread::scope(|scope| {
        let each = sessions.iter_mut().zip(all);
        let waiting: Vec<_> = each.map(|(session, what)| scope.spawn(|| what(session))).collect();
        let open = Opening(cluster, place);
        wait_until("they wait for the schema", BOUND, || {
            let query = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted";
            let seen: usize = text(&mut client, query)[0].parse().unwrap();
            let done = waiting.iter().filter(|one| one.is_finished()).count();
            match (seen, done) == (wait_for_it, all.len() - wait_for_it) {
                true => Ok(()),
                false => Err(format!("{seen} of {} wait, {done} are done", all.len())),
            }
        });
        drop(open);
        waiting.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    finish(&mut client, id);
    outcomes
}

/// A cluster with the tenant in a schema created by this statement.
fn tenant(schema: &str) -> Cluster {
    let settings = ["helios.max_switch_stall = '60s'", "wal_level = logical"];
    let cluster = cluster_with_failpoints(1, &settings);
    cluster.connect().batch_execute(schema).unwrap();
    cluster.connect().batch_execute(TENANT).unwrap();
    cluster
}

const DISTRIBUTED: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"";
const COME_HOME: &str = "SELECT helios_undistribute_schema('t')";
const LEAVE: &str = "SELECT helios_distribute_schema('t', 'node-1')";

/// All statements have their normal effect, although so many wait.
fn assert_done(cluster: &Cluster, how: &str, wait_for_it: usize) {
    let all: Vec<Waiting> = STATEMENTS.iter().map(|(_, statement, _)| *statement).collect();
    let outcomes = while_it_moves(cluster, how, &all, wait_for_it);
    for ((name, _, expected), outcome) in STATEMENTS.iter().zip(outcomes) {
        assert_eq!(
            &outcome.unwrap_or_else(|error| panic!("{name}: {error:?}")),
            expected,
            "{name}"
        );
    }
    let contents = "SELECT (SELECT count(*) FILTER (WHERE v = 'new') FROM t.a), (SELECT count(*) FROM t.b), \
        (SELECT string_agg(id || v, ' ') FROM t.c), \
        (SELECT string_agg(id || coalesce(v, ''), ' ' ORDER BY id) FROM t.d), \
        (SELECT string_agg(id || v, ' ' ORDER BY id) FROM t.e), (SELECT string_agg(id::text, ' ') FROM t.f), \
        (SELECT last_value FROM t.s)";
    assert_eq!(
        text(&mut cluster.connect(), contents),
        ["10|50|7seven|1one 2two 9called|5variable 61|1|42"]
    );
}

#[test]
fn statements_that_wait_for_a_schema_to_come_home_run_there() {
    let cluster = tenant(DISTRIBUTED);
    // All except the one without privileges.
    assert_done(&cluster, COME_HOME, STATEMENTS.len() - 1);
    assert_eq!(node_of(&mut cluster.connect(), "t"), None);
}

#[test]
fn statements_that_wait_for_a_schema_to_become_distributed_run_on_its_node() {
    let cluster = tenant("CREATE SCHEMA t");
    // Nor the four that read the unlogged table.
    assert_done(&cluster, LEAVE, STATEMENTS.len() - 5);
    assert_eq!(node_of(&mut cluster.connect(), "t").as_deref(), Some("node-1"));
}

#[test]
fn statements_that_would_not_see_what_came_home_are_sent_back() {
    let cluster = tenant(DISTRIBUTED);
    for outcome in while_it_moves(&cluster, COME_HOME, &SENT_BACK, SENT_BACK.len()) {
        let error = outcome.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("40001"), "{error:?}");
    }
}
