//! The current library with catalogs of the previous version.

use super::{BEFORE, NOW, database_before, installed, refused_before};
use helios_tests::{BOUND, Cluster, backend, kill, text, wait_until};
use postgres::Client;
use std::time::Duration;

/// Calls of all functions in C, with NULL arguments that the planner cannot see.
const CALLS: &str =
    "SELECT format('SELECT %s.%I(%s)%s', pronamespace::regnamespace, proname, string_agg('a.a' || n, ', ' ORDER BY n),
                   ' FROM (SELECT ' || string_agg(format('NULL::%s AS a%s', CASE WHEN t = 'anyelement'::regtype THEN 'text' ELSE format_type(t, NULL) END, n), ', ') FILTER (WHERE n IS NOT NULL) || ' OFFSET 0) AS a')
       FROM pg_proc LEFT JOIN LATERAL unnest(proargtypes) WITH ORDINALITY AS u(t, n) ON true
      WHERE probin = 'helios' AND prorettype <> 'trigger'::regtype AND NOT 'internal'::regtype = ANY (proargtypes)
        AND proname <> 'helios_version' AND proname NOT LIKE 'routed%' AND proname NOT LIKE 'followed%' AND provariadic = 0
      GROUP BY pg_proc.oid, pronamespace, proname ORDER BY 1";

#[test]
fn every_function_refuses_catalogs_of_another_version() {
    let mut client = database_before(Cluster::shared(), "functions_before");
    let calls = text(&mut client, CALLS);
    assert!(calls.len() > 50, "{calls:?}");
    for call in &calls {
        refused_before(&mut client, call);
    }
    assert_eq!(text(&mut client, "SELECT helios_version()"), [NOW]);
    client.batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    // Now they are called, and may fail because of their arguments.
    for call in calls.iter().filter(|call| call.contains("helios_node_for")) {
        client.simple_query(call).unwrap_or_else(|error| panic!("{call}: {error:?}"));
    }
}

#[test]
fn smoke_statements_about_helios_are_refused_and_all_others_run() {
    let cluster = Cluster::shared();
    let mut client = database_before(cluster, "statements_before");
    for statement in [
        "CREATE SCHEMA tenant DISTRIBUTED",
        "SELECT helios_create_schema('tenant')",
        "SELECT * FROM helios_nodes",
        "SELECT * FROM helios_check_cluster()",
    ] {
        refused_before(&mut client, statement);
    }
    client.batch_execute("CREATE SCHEMA plain; SET helios.distribute_new_schemas = on").unwrap();
    refused_before(&mut client, "CREATE SCHEMA tenant");
    client.batch_execute("RESET helios.distribute_new_schemas").unwrap();
    refused_before(&mut client, "SECURITY LABEL FOR helios ON SCHEMA plain IS 'distributed'");
    for statement in [
        "CREATE TABLE plain.t (id serial PRIMARY KEY, v text DEFAULT 'x')",
        "INSERT INTO plain.t DEFAULT VALUES",
        "CREATE FUNCTION plain.f() RETURNS bigint LANGUAGE plpgsql AS
             'DECLARE s regclass := ''plain.t_id_seq''; BEGIN RETURN nextval(s) + (SELECT count(*) FROM plain.t); END'",
        "SELECT plain.f(), random(), set_config('my.setting', 'x', false)",
        "COPY plain.t TO '/dev/null'",
        "UPDATE plain.t SET v = 'y'",
        "TRUNCATE plain.t",
        "ALTER TABLE plain.t ADD w int",
        "BEGIN; SAVEPOINT s; DELETE FROM plain.t; LOCK TABLE plain.t; ROLLBACK TO s; COMMIT",
        "CREATE ROLE of_statements_before; GRANT USAGE ON SCHEMA plain TO of_statements_before",
        "DROP OWNED BY of_statements_before; DROP ROLE of_statements_before",
        "CREATE EXTENSION hstore; DROP EXTENSION hstore",
        "VACUUM plain.t",
        "ANALYZE",
        "CREATE MATERIALIZED VIEW plain.m AS SELECT * FROM plain.t",
        "REFRESH MATERIALIZED VIEW plain.m",
        "CREATE SCHEMA other; DROP SCHEMA other",
        "COMMENT ON SCHEMA plain IS 'plain'",
        "ALTER SCHEMA plain RENAME TO simple; ALTER SCHEMA simple RENAME TO plain",
    ] {
        client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    let dump =
        cluster.coordinator().client("pg_dump", "statements_before").unwrap().output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    client.batch_execute("DROP TABLE plain.t CASCADE").unwrap();
    client.batch_execute("DROP EXTENSION helios").unwrap();
    client.batch_execute(&format!("CREATE EXTENSION helios VERSION '{BEFORE}'")).unwrap();
    client
        .batch_execute("ALTER EXTENSION helios UPDATE; CREATE SCHEMA tenant DISTRIBUTED")
        .unwrap();
    assert_eq!(text(&mut client, "SELECT count(*) FROM helios_schemas"), ["1"]);
    assert_eq!(installed(&mut client), NOW);
    refused_downgrade(&mut client);
}

fn refused_downgrade(client: &mut Client) {
    let down = format!("ALTER EXTENSION helios UPDATE TO '{BEFORE}'");
    let error = client.batch_execute(&down).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "22023", "{error:?}");
    assert!(error.message().contains("no update path"), "{error:?}");
    assert_eq!(installed(client), NOW);
}

#[test]
fn open_sessions_and_prepared_statements_go_on_after_an_update() {
    let cluster = Cluster::shared();
    let mut updating = database_before(cluster, "sessions_before");
    let mut open = cluster.coordinator().connect("sessions_before").unwrap();
    open.batch_execute("CREATE SCHEMA plain; CREATE TABLE plain.t (a int); PREPARE p AS SELECT count(*) FROM plain.t; EXECUTE p").unwrap();
    refused_before(&mut open, "CREATE SCHEMA tenant DISTRIBUTED");
    // In its own transaction, whose snapshot is older than the update.
    open.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; EXECUTE p").unwrap();
    updating.batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    assert_eq!(text(&mut open, "SELECT count(*) FROM helios_nodes"), ["1"]);
    open.batch_execute(
        "COMMIT; EXECUTE p; CREATE SCHEMA tenant DISTRIBUTED; CREATE TABLE tenant.t (a int)",
    )
    .unwrap();
    assert_eq!(text(&mut open, "EXECUTE p"), ["0"]);
}

#[test]
fn update_that_is_rolled_back_has_not_been() {
    let cluster = Cluster::shared();
    let mut updating = database_before(cluster, "rolled_back_before");
    let mut other = cluster.coordinator().connect("rolled_back_before").unwrap();
    updating
        .batch_execute("BEGIN; ALTER EXTENSION helios UPDATE; CREATE SCHEMA tenant DISTRIBUTED")
        .unwrap();
    refused_before(&mut other, "CREATE SCHEMA another DISTRIBUTED");
    updating.batch_execute("ROLLBACK").unwrap();
    refused_before(&mut updating, "CREATE SCHEMA tenant DISTRIBUTED");
    updating
        .batch_execute("BEGIN; SAVEPOINT s; ALTER EXTENSION helios UPDATE; ROLLBACK TO s")
        .unwrap();
    refused_before(&mut updating, "CREATE SCHEMA tenant DISTRIBUTED");
    updating
        .batch_execute("ROLLBACK; ALTER EXTENSION helios UPDATE; CREATE SCHEMA tenant DISTRIBUTED")
        .unwrap();
    other.batch_execute("CREATE SCHEMA another DISTRIBUTED").unwrap();
}

#[test]
fn second_update_waits_for_the_first_and_finds_it_done() {
    let cluster = Cluster::shared();
    let mut first = database_before(cluster, "twice_before");
    let mut second = cluster.coordinator().connect("twice_before").unwrap();
    let pid = backend(&mut second).as_raw_nonzero().get();
    first.batch_execute("BEGIN; ALTER EXTENSION helios UPDATE").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| second.batch_execute("ALTER EXTENSION helios UPDATE"));
        let mut watcher = cluster.coordinator().connect("twice_before").unwrap();
        let blocked = format!("SELECT cardinality(pg_blocking_pids({pid}))");
        wait_until("the second update waits", BOUND, || {
            let seen = text(&mut watcher, &blocked);
            if seen == ["1"] { Ok(()) } else { Err(format!("{seen:?}")) }
        });
        first.batch_execute("COMMIT").unwrap();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(installed(&mut second), NOW);
}

#[test]
fn server_killed_in_the_middle_of_an_update_has_the_version_before() {
    let cluster = Cluster::start(0);
    let server = cluster.coordinator();
    let ready = || {
        let log = String::from_utf8_lossy(&std::fs::read(server.log()).unwrap()).into_owned();
        log.matches("ready to accept connections").count()
    };
    let mut client = database_before(&cluster, "killed_before");
    client.batch_execute("BEGIN; ALTER EXTENSION helios UPDATE").unwrap();
    let before = ready();
    kill(backend(&mut client));
    wait_until("the server has restarted", BOUND, || match ready() {
        same if same == before => Err("it has not".to_owned()),
        _ => Ok(()),
    });
    let mut client = server.connect("killed_before").unwrap();
    assert_eq!(installed(&mut client), BEFORE, "after a crash in the middle");
    refused_before(&mut client, "CREATE SCHEMA tenant DISTRIBUTED");
    client.batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    server.kill().unwrap();
    server.start().unwrap();
    let mut client = server.connect("killed_before").unwrap();
    assert_eq!(installed(&mut client), NOW);
    client.batch_execute("CREATE SCHEMA tenant DISTRIBUTED").unwrap();
}

#[test]
fn workers_wait_for_the_update_and_say_so_once() {
    let cluster = Cluster::start(0);
    let mut client = database_before(&cluster, "worker_before");
    // The launcher visits every database when it starts.
    let server = cluster.coordinator();
    drop(client);
    server.stop(testkit::server::Shutdown::Fast).unwrap();
    let before_start = std::fs::read(server.log()).unwrap().len();
    server.start().unwrap();
    let said = format!("the installed version of extension \"helios\" is {BEFORE}");
    let lines = || {
        let log = std::fs::read(server.log()).unwrap();
        let log = String::from_utf8_lossy(&log[before_start..]).into_owned();
        log.lines().filter(|line| line.contains("LOG:") && line.contains(&said)).count()
    };
    wait_until("the worker's line", BOUND, || match lines() {
        0 => Err("no line".to_owned()),
        _ => Ok(()),
    });
    std::thread::sleep(Duration::from_secs(7)); // longer than the launcher's interval
    assert_eq!(lines(), 1);
    client = server.connect("worker_before").unwrap();
    client.batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    assert_eq!(lines(), 1);
}
