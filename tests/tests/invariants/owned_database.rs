//! The owner of a database, or a member of that role, can set the `search_path` of all sessions in it without being a
//! superuser: Helios' own sessions and workers must not resolve names with it.

use std::time::Duration;

use helios_tests::{Cluster, define_on_node, text};
use testkit::cluster::DATABASE;

/// Types whose operators are used in queries on catalogs.
const TYPES: [&str; 8] = ["oid", "name", "text", "int8", "int4", "boolean", "\"char\"", "regclass"];
const OPERATORS: [&str; 3] = ["=", "<>", "||"];

/// Operators in schema `trap` that record who runs them, and then call PostgreSQL's.
fn trap() -> String {
    let mut all = String::from(
        "CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC; CREATE SEQUENCE trap.sprung; \
         GRANT ALL ON SEQUENCE trap.sprung TO PUBLIC; \
         CREATE FUNCTION trap.spring() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
             IF (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) THEN \
                 RAISE LOG 'sprung in: %', pg_catalog.current_query(); \
                 PERFORM pg_catalog.nextval('trap.sprung'); \
             END IF; END $$;",
    );
    for (number, of_type) in TYPES.iter().enumerate() {
        for (at, operator) in OPERATORS.iter().enumerate() {
            let (result, body) = match *operator {
                "||" => ("text", "pg_catalog.textcat($1::text, $2::text)".to_owned()),
                _ => ("boolean", format!("$1::text OPERATOR(pg_catalog.{operator}) $2::text")),
            };
            all.push_str(&format!(
                "CREATE FUNCTION trap.f_{number}_{at}({of_type}, {of_type}) RETURNS {result} LANGUAGE plpgsql AS $$ BEGIN \
                     PERFORM trap.spring(); RETURN {body}; END $$; \
                 CREATE OPERATOR trap.{operator} (FUNCTION = trap.f_{number}_{at}, LEFTARG = {of_type}, RIGHTARG = {of_type});"
            ));
        }
    }
    all
}

#[test]
fn helios_own_sessions_do_not_follow_a_databases_search_path() {
    let cluster = Cluster::with_settings(
        2,
        &[
            "helios.health_interval = 200ms",
            "helios.recovery_interval = 300ms",
            "helios.statistics_interval = 500ms",
        ],
    );
    let mut client = cluster.connect();
    client
        .batch_execute(&format!(
            "CREATE ROLE keeper LOGIN; GRANT CREATE ON DATABASE {DATABASE} TO keeper; ALTER DATABASE {DATABASE} OWNER TO keeper; \
             CREATE TABLE public.shared (id int PRIMARY KEY); SELECT helios_create_reference_table('public.shared'); \
             CREATE SCHEMA moves DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE moves.t (id serial PRIMARY KEY, v text); \
             INSERT INTO moves.t (v) SELECT 'x' FROM generate_series(1, 100)"
        ))
        .unwrap();
    let mut keeper = cluster.connect_as("keeper");
    keeper.batch_execute(&trap()).unwrap();
    drop(keeper);
    let mut servers = vec![cluster.connect()];
    for number in 1..=2 {
        let mut node = cluster.connect_to_node(number);
        // The coordinator has its own sequence.
        let sequence = "CREATE SEQUENCE trap.sprung; GRANT ALL ON SEQUENCE trap.sprung TO PUBLIC";
        define_on_node(&mut node, sequence);
        servers.push(node);
    }
    for server in &mut servers {
        let set = format!("ALTER DATABASE {DATABASE} SET search_path = trap, pg_catalog, public");
        server.batch_execute(&set).unwrap();
        let others = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE backend_type ~ '^helios' OR application_name OPERATOR(pg_catalog.=) 'helios'";
        server.batch_execute(others).unwrap();
    }
    // Workers, their sessions, and functions called by a superuser.
    let mut client = cluster.connect();
    client.batch_execute("SET search_path = pg_catalog, public").unwrap();
    for statement in [
        "SELECT * FROM helios_check_cluster()",
        "SELECT helios_measure_sizes()",
        "SELECT * FROM helios_nodes",
        "SELECT * FROM helios_transactions",
        "SELECT * FROM helios_recover_transactions()",
        "SELECT * FROM helios_rebalance_plan()",
        "CREATE ROLE one_more",
        "INSERT INTO public.shared VALUES (1)",
        "SELECT helios_migrate_schema('moves', 'node-2')",
        "SELECT helios_wait_for_migration(max(id)) FROM helios.migration",
        "SELECT * FROM helios_verify_schema('moves')",
    ] {
        client.simple_query(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    // Each worker has run.
    std::thread::sleep(Duration::from_millis(1500));
    for (number, server) in servers.iter_mut().enumerate() {
        let sprung = text(server, "SELECT is_called FROM trap.sprung");
        assert_eq!(sprung, ["f"], "server {number}");
    }
}
