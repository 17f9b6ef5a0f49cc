//! The state of a backend's sessions on nodes follows the backend's, and nothing of it is left behind.

use std::time::Duration;

use helios_tests::{BOUND, Cluster, backend, descriptors, psql, wait_until};
use postgres::Client;

/// A private cluster with schema `s` on node 1 and its table `t (id)`, ids 1 to 1000.
fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA s DISTRIBUTED; CREATE TABLE s.t (id int PRIMARY KEY); \
             INSERT INTO s.t SELECT generate_series(1, 1000)",
        )
        .unwrap();
    (cluster, client)
}

fn text(client: &mut Client, sql: &str) -> String {
    client.query_one(sql, &[]).unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

/// Value of a setting in the node's session.
fn on_node(client: &mut Client, setting: &str) -> String {
    text(client, &format!("SELECT current_setting('{setting}', true) FROM s.t LIMIT 1"))
}

fn no_statement_is_active(cluster: &Cluster, fragment: &str) {
    wait_until(&format!("the node stops running {fragment:?}"), BOUND, || {
        let sessions = cluster.node_sessions(1);
        let running = sessions.iter().any(|s| s.contains(" active: ") && s.contains(fragment));
        if running { Err(format!("{sessions:?}")) } else { Ok(()) }
    });
}

#[test]
fn a_thousand_aborted_statements_leave_nothing() {
    let (cluster, mut client) = cluster();
    let pid = backend(&mut client);
    let failing = [
        "SELECT 1 / (id - id) FROM s.t",
        "SET statement_timeout = 5; SELECT pg_sleep(10) FROM s.t",
        "BEGIN; INSERT INTO s.t VALUES (5000); SAVEPOINT a; INSERT INTO s.t VALUES (1)",
        "SET statement_timeout = 5; SELECT count(*) FROM s.t a, s.t b, s.t c",
    ];
    let mut round = |count: usize| {
        for number in 0..count {
            client.batch_execute(failing[number % failing.len()]).unwrap_err();
            client.batch_execute("ROLLBACK").unwrap();
            client.batch_execute("RESET statement_timeout").unwrap();
        }
        let rows: i64 = client.query_one("SELECT count(*) FROM s.t", &[]).unwrap().get(0);
        assert_eq!(rows, 1000);
    };
    round(20);
    let (files, sessions) = (descriptors(pid), cluster.node_sessions(1).len());
    round(1000);
    // The server opens and closes a few files by itself; a leak would be hundreds.
    let files_now = descriptors(pid);
    assert!(files_now < files + 10, "{files} file descriptors became {files_now}");
    wait_until("the node has as many sessions as before", BOUND, || {
        let now = cluster.node_sessions(1);
        if now.len() == sessions { Ok(()) } else { Err(format!("{now:?}, then {sessions}")) }
    });
}

#[test]
fn a_cancel_reaches_the_node_and_spares_the_session() {
    let (cluster, mut client) = cluster();
    let token = client.cancel_token();
    let error = std::thread::scope(|scope| {
        let running =
            scope.spawn(|| client.query("SELECT pg_sleep(60) FROM s.t", &[]).unwrap_err());
        wait_until("the node sleeps", BOUND, || {
            let sessions = cluster.node_sessions(1);
            if sessions.iter().any(|s| s.contains("pg_sleep(60)")) {
                Ok(())
            } else {
                Err(format!("{sessions:?}"))
            }
        });
        token.cancel_query(postgres::NoTls).unwrap();
        running.join().unwrap()
    });
    assert_eq!(error.code().unwrap().code(), "57014");
    no_statement_is_active(&cluster, "pg_sleep(60)");
    assert_eq!(text(&mut client, "SELECT max(id)::text FROM s.t"), "1000");
}

#[test]
fn a_terminated_backend_stops_its_statement_on_the_node() {
    let (cluster, mut client) = cluster();
    let pid = backend(&mut client).as_raw_nonzero().get();
    let mut other = cluster.connect();
    std::thread::scope(|scope| {
        scope.spawn(|| client.query("SELECT pg_sleep(61) FROM s.t", &[]).unwrap_err());
        wait_until("the node sleeps", BOUND, || {
            let sessions = cluster.node_sessions(1);
            if sessions.iter().any(|s| s.contains("pg_sleep(61)")) {
                Ok(())
            } else {
                Err(format!("{sessions:?}"))
            }
        });
        other.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    });
    no_statement_is_active(&cluster, "pg_sleep(61)");
}

#[test]
fn settings_follow_the_client_and_its_rollbacks() {
    let (_cluster, mut client) = cluster();
    client
        .batch_execute("SET app.tenant = 'it''s \\ mine'; SET seq_page_cost = 0.123456789")
        .unwrap();
    assert_eq!(on_node(&mut client, "app.tenant"), "it's \\ mine");
    assert_eq!(on_node(&mut client, "seq_page_cost"), text(&mut client, "SHOW seq_page_cost"));
    client.batch_execute("BEGIN; SET LOCAL work_mem = '77MB'").unwrap();
    assert_eq!(on_node(&mut client, "work_mem"), "77MB");
    client.batch_execute("SAVEPOINT a; SET work_mem = '78MB'").unwrap();
    assert_eq!(on_node(&mut client, "work_mem"), "78MB");
    client.batch_execute("ROLLBACK TO a").unwrap();
    assert_eq!(on_node(&mut client, "work_mem"), "77MB");
    client.batch_execute("COMMIT").unwrap();
    let plain = text(&mut client, "SHOW work_mem");
    assert_eq!(on_node(&mut client, "work_mem"), plain);
    client.batch_execute("RESET app.tenant").unwrap();
    assert_eq!(on_node(&mut client, "app.tenant"), "");
}

#[test]
fn a_fresh_session_can_vacuum() {
    let (cluster, _client) = cluster();
    for statement in
        ["VACUUM s.t", "SET app.x = '1'; \nVACUUM s.t", "REINDEX TABLE CONCURRENTLY s.t"]
    {
        psql(cluster.coordinator(), "helios", statement).ok();
    }
}

#[test]
fn discard_all_leaves_nothing_on_the_node() {
    let (_cluster, mut client) = cluster();
    client
        .batch_execute(
            "CREATE FUNCTION s.remember() RETURNS int LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM set_config('app.secret', 'x', false); RETURN 1; END $$",
        )
        .unwrap();
    client.batch_execute("SELECT s.remember()").unwrap();
    client.batch_execute("DISCARD ALL").unwrap();
    assert_eq!(on_node(&mut client, "app.secret"), "");
}

#[test]
fn code_that_runs_as_its_owner_cannot_take_the_callers_rights() {
    let (cluster, mut client) = cluster();
    client
        .batch_execute(
            "CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE helios TO mallory; \
             GRANT CREATE ON SCHEMA public TO mallory",
        )
        .unwrap();
    cluster
        .connect_as("mallory")
        .batch_execute(
            "CREATE SCHEMA m DISTRIBUTED; CREATE TABLE m.x (id int); INSERT INTO m.x VALUES (1);
             CREATE FUNCTION m.evil() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                 EXECUTE 'RESET ROLE'; EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN current_user;
                 EXCEPTION WHEN OTHERS THEN RETURN current_user; END $$;
             CREATE TABLE public.trap (id int); INSERT INTO public.trap VALUES (1);
             CREATE FUNCTION public.trapped(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
                 DECLARE r text; BEGIN SELECT m.evil() INTO r FROM m.x; RETURN i; END $$;
             CREATE INDEX ON public.trap (public.trapped(id));
             CREATE FUNCTION public.definer() RETURNS text SECURITY DEFINER LANGUAGE plpgsql AS $$
                 DECLARE r text; BEGIN SELECT m.evil() INTO r FROM m.x; RETURN r; END $$",
        )
        .unwrap();
    client.batch_execute("ANALYZE public.trap").unwrap();
    assert_eq!(text(&mut client, "SELECT public.definer()"), "mallory");
    let superuser: bool = cluster
        .connect_to_node(1)
        .query_one("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'", &[])
        .unwrap()
        .get(0);
    assert!(!superuser);
}

#[test]
fn a_node_that_was_restarted_while_idle_costs_no_error() {
    let (cluster, mut client) = cluster();
    cluster.restart_node(1);
    // Idle for longer than a session is used without a check; waiting longer makes no difference.
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(text(&mut client, "SELECT max(id)::text FROM s.t"), "1000");
}

#[test]
fn a_copy_in_another_encoding_leaves_nothing_behind() {
    let (cluster, mut client) = cluster();
    client.batch_execute("CREATE TABLE s.words (v text UNIQUE)").unwrap();
    let script = b"SET client_encoding = LATIN1;\nBEGIN;\nCOPY s.words FROM STDIN;\nh\xe9\n\\.\nSET client_encoding = UTF8;\n\
                   SET app.x = '\xc3\xbc';\nSELECT current_setting('app.x') || v FROM s.words;\nCOMMIT;\n";
    let path = cluster.dir().join("latin1.sql");
    std::fs::write(&path, script).unwrap();
    let shown = psql(cluster.coordinator(), "helios", &format!("\\i {}", path.display())).ok();
    assert!(shown.contains("\u{fc}h\u{e9}"), "{shown}");
}

#[test]
fn statements_on_the_same_node_interleave() {
    let (_cluster, mut client) = cluster();
    let sum = "DO $$ DECLARE r record; n bigint := 0; BEGIN \
                 FOR r IN SELECT id FROM s.t LOOP \
                     n := n + (SELECT count(*) FROM s.t WHERE id <= r.id); \
                 END LOOP; \
                 IF n <> 500500 THEN RAISE EXCEPTION 'counted %', n; END IF; END $$";
    client.batch_execute(sum).unwrap();
}
