//! Invariant 10: a user never gains privileges.

use helios_tests::Cluster;
use postgres::Client;

use crate::{described, refused, value};

/// `mallory` has LOGIN and owns the distributed schema `m`; `s` belongs to another role.
fn cluster() -> (Cluster, Client, Client) {
    let cluster = Cluster::start(1);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE mallory LOGIN; CREATE ROLE victim LOGIN; \
             CREATE SCHEMA m AUTHORIZATION mallory DISTRIBUTED; \
             CREATE SCHEMA s DISTRIBUTED; CREATE TABLE s.secret (x int); \
             INSERT INTO s.secret VALUES (42)",
        )
        .unwrap();
    let mut mallory = cluster.connect_as("mallory");
    mallory.batch_execute("CREATE TABLE m.t (x int); INSERT INTO m.t VALUES (1)").unwrap();
    (cluster, admin, mallory)
}

/// Asserts that only the administrator is a superuser, on all servers.
#[track_caller]
fn assert_no_new_superuser(cluster: &Cluster) {
    for mut client in [cluster.connect(), cluster.connect_to_node(1)] {
        let query = "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper";
        assert_eq!(value(&mut client, query).unwrap().as_deref(), Some("postgres"));
    }
}

#[test]
fn node_sessions_run_as_the_client() {
    let (cluster, mut admin, mut mallory) = cluster();
    let who = "SELECT format('%s %s %s', session_user, current_user, \
               current_setting('is_superuser')) FROM m.t";
    assert_eq!(value(&mut mallory, who).unwrap().as_deref(), Some("mallory mallory off"));
    admin.batch_execute("SET ROLE mallory").unwrap();
    let found = value(&mut admin, who).unwrap();
    assert_eq!(found.as_deref(), Some("postgres mallory off"));
    admin.batch_execute("RESET ROLE; SET SESSION AUTHORIZATION mallory").unwrap();
    let found = value(&mut admin, who).unwrap().unwrap();
    assert!(found.starts_with("mallory mallory"), "{found}");
    refused(&mut mallory, "SELECT * FROM s.secret", "42501", &["permission denied"]);
    assert_no_new_superuser(&cluster);
}

#[test]
fn functions_on_the_node_cannot_change_who_runs_them() {
    let (cluster, mut admin, mut mallory) = cluster();
    for (i, change) in [
        "RESET ROLE",
        "SET ROLE postgres",
        "SET ROLE NONE",
        "SET SESSION AUTHORIZATION postgres",
        "SET SESSION AUTHORIZATION DEFAULT",
        "RESET SESSION AUTHORIZATION",
    ]
    .iter()
    .enumerate()
    {
        let create = format!(
            "CREATE FUNCTION m.f{i}() RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE '{change}'; \
             EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN current_user; \
             EXCEPTION WHEN insufficient_privilege THEN RETURN 'refused'; END $$"
        );
        mallory.batch_execute(&create).unwrap();
        let call = format!("SELECT m.f{i}() FROM m.t");
        assert_eq!(value(&mut mallory, &call).unwrap().as_deref(), Some("refused"), "{change}");
        // As role mallory, in a session that began as a superuser. There PostgreSQL itself
        // permits RESET ROLE; a restricted context must not.
        let definer = format!(
            "CREATE OR REPLACE FUNCTION m.d{i}() RETURNS text LANGUAGE plpgsql SECURITY DEFINER \
             AS $$ BEGIN EXECUTE '{change}'; EXECUTE 'ALTER ROLE mallory SUPERUSER'; \
             RETURN current_user; EXCEPTION WHEN OTHERS THEN RETURN 'refused'; END $$"
        );
        mallory.batch_execute(&definer).unwrap();
        let call = format!("SELECT m.d{i}() FROM m.t");
        assert_eq!(value(&mut admin, &call).unwrap().as_deref(), Some("refused"), "{change}");
        assert_no_new_superuser(&cluster);
    }
}

/// Code of a table's owner that an administrator's ANALYZE runs: PostgreSQL restricts it, and so
/// must the statements that it sends to a node.
#[test]
fn maintenance_by_an_administrator_does_not_lend_rights() {
    let (cluster, mut admin, mut mallory) = cluster();
    admin.batch_execute("GRANT CREATE ON SCHEMA public TO mallory").unwrap();
    mallory
        .batch_execute(
            "CREATE FUNCTION m.evil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
                 EXECUTE 'RESET ROLE'; EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN 1; \
                 EXCEPTION WHEN OTHERS THEN RETURN 0; END $$;
             CREATE TABLE public.trap (id int);
             INSERT INTO public.trap SELECT generate_series(1, 10);
             CREATE FUNCTION public.trapped(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ \
                 DECLARE r int; BEGIN SELECT m.evil() INTO r FROM m.t; RETURN i; \
                 EXCEPTION WHEN OTHERS THEN RETURN i; END $$;
             CREATE INDEX ON public.trap (public.trapped(id))",
        )
        .unwrap();
    for maintenance in ["ANALYZE public.trap", "REINDEX TABLE public.trap", "VACUUM public.trap"] {
        // Refusing is as good as executing without harm.
        let _ = admin.batch_execute(maintenance);
        assert_no_new_superuser(&cluster);
    }
    mallory
        .batch_execute(
            "CREATE FUNCTION public.definer() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS \
             $$ DECLARE r int; BEGIN SELECT m.evil() INTO r FROM m.t; RETURN r; END $$",
        )
        .unwrap();
    let _ = admin.batch_execute("SELECT public.definer()");
    assert_no_new_superuser(&cluster);
}

#[test]
fn nothing_that_a_client_sends_becomes_another_statement() {
    let (cluster, mut admin, _) = cluster();
    let evil = "x'; ALTER ROLE mallory SUPERUSER; --";
    let literal = evil.replace('\'', "''");
    let mut config = cluster.coordinator().config(testkit::cluster::DATABASE);
    config.user("mallory").application_name(evil);
    let mut mallory = config.connect(postgres::NoTls).unwrap();
    for setting in ["application_name", "app.tenant", "search_path", "DateStyle", "work_mem"] {
        // Some types reject such a value: then there is nothing to send.
        let _ = mallory.batch_execute(&format!("SET {setting} = '{literal}'"));
        let _ = mallory.batch_execute("SELECT * FROM m.t");
        assert_no_new_superuser(&cluster);
    }
    mallory.batch_execute("RESET ALL; SET standard_conforming_strings = off").unwrap();
    mallory.batch_execute("SET app.tenant = E'\\\\\\'; ALTER ROLE mallory SUPERUSER; --'").unwrap();
    let seen = value(&mut mallory, "SELECT current_setting('app.tenant') FROM m.t").unwrap();
    assert_eq!(seen.as_deref(), Some("\\'; ALTER ROLE mallory SUPERUSER; --"));
    for name in ["we\"ird", "x'y", "a;b", "--c", "$$d"] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let script = format!(
            "CREATE ROLE {quoted} LOGIN; CREATE SCHEMA {quoted} AUTHORIZATION {quoted} DISTRIBUTED; \
             SET ROLE {quoted}; CREATE TABLE {quoted}.t AS SELECT current_user AS u; RESET ROLE"
        );
        admin.batch_execute(&script).unwrap();
        let mut client = cluster.connect_as(name);
        let user = value(&mut client, &format!("SELECT u FROM {quoted}.t")).unwrap();
        assert_eq!(user.as_deref(), Some(name));
    }
    assert_no_new_superuser(&cluster);
}

#[test]
fn only_administrators_change_the_cluster_or_read_passwords() {
    let (_cluster, mut admin, mut mallory) = cluster();
    for sql in [
        "SELECT * FROM helios.credential",
        "UPDATE helios.node SET ports = '{1}'",
        "INSERT INTO helios.schema SELECT 'x', min(id) FROM helios.shard",
        "DELETE FROM helios.schema",
        "SELECT helios_add_node('n', '127.0.0.1', 1)",
        "SELECT helios_remove_node('node-1')",
        "SELECT helios_distribute_schema('public')",
        "SELECT helios_undistribute_schema('s')",
        "CREATE SCHEMA mine DISTRIBUTED",
        "DROP SCHEMA s CASCADE",
        "ALTER SCHEMA s RENAME TO x",
        "GRANT ALL ON SCHEMA s TO mallory",
        "TRUNCATE helios.shard",
    ] {
        let error = described(&mallory.batch_execute(sql).unwrap_err());
        assert_eq!(error.0, "42501", "{sql}: {}", error.1);
    }
    assert_eq!(
        value(&mut admin, "SELECT count(*) FROM helios.node").unwrap().as_deref(),
        Some("2")
    );
}

/// A superuser may SET ROLE to a role without LOGIN: nodes follow, without granting that role anything.
#[test]
fn session_user_that_may_not_log_in() {
    let (cluster, mut admin, _mallory) = cluster();
    admin
        .batch_execute("CREATE ROLE unable NOLOGIN; GRANT USAGE ON SCHEMA m, s TO unable")
        .unwrap();
    admin
        .batch_execute("GRANT SELECT ON m.t TO unable; GRANT CREATE ON SCHEMA public TO unable")
        .unwrap();
    admin.batch_execute("SET SESSION AUTHORIZATION unable").unwrap();
    let who = "SELECT format('%s %s', current_user, current_setting('is_superuser')) FROM m.t";
    assert_eq!(value(&mut admin, who).unwrap().as_deref(), Some("unable off"));
    admin
        .batch_execute("CREATE FUNCTION public.shared() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        .unwrap();
    refused(&mut admin, "SELECT * FROM s.secret", "42501", &["permission denied"]);
    refused(&mut admin, "CREATE ROLE more SUPERUSER", "42501", &[]);
    admin.batch_execute("RESET SESSION AUTHORIZATION; SELECT * FROM s.secret").unwrap();
    let owner = "SELECT proowner::regrole FROM pg_proc WHERE proname = 'shared'";
    let mut node = cluster.connect_to_node(1);
    assert_eq!(value(&mut node, owner).unwrap().as_deref(), Some("unable"));
    assert_no_new_superuser(&cluster);
}

/// A SECURITY DEFINER function may be called by anybody: its owner's privileges apply on the node, and no more.
#[test]
fn functions_that_run_as_their_owner_serve_strangers() {
    let (cluster, mut admin, mut mallory) = cluster();
    admin
        .batch_execute(
            "CREATE ROLE keeper LOGIN; GRANT USAGE ON SCHEMA s TO keeper; GRANT SELECT ON s.secret TO keeper; \
             CREATE FUNCTION public.serve() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS \
                 $$BEGIN RETURN (SELECT current_user || ' ' || x FROM s.secret); END$$; \
             CREATE FUNCTION public.spoil() RETURNS void LANGUAGE sql SECURITY DEFINER AS \
                 $$DELETE FROM s.secret$$; \
             ALTER FUNCTION public.serve() OWNER TO keeper; ALTER FUNCTION public.spoil() OWNER TO keeper",
        )
        .unwrap();
    for block in ["", "BEGIN; "] {
        let sql = format!("{block}SELECT public.serve()");
        assert_eq!(value(&mut mallory, &sql).unwrap().as_deref(), Some("keeper 42"));
        mallory.batch_execute("ROLLBACK").unwrap();
    }
    refused(&mut mallory, "SELECT public.spoil()", "42501", &["permission denied"]);
    refused(&mut mallory, "SELECT * FROM s.secret", "42501", &["permission denied"]);
    admin.batch_execute("ALTER ROLE keeper NOLOGIN").unwrap();
    let again = &mut cluster.connect_as("mallory");
    refused(
        again,
        "SELECT public.serve()",
        "08001",
        &["keeper", "not permitted to log in", "LOGIN"],
    );
}

/// Checks run by the administrator cannot be intercepted by other roles' operators.
#[test]
fn checks_look_up_no_operator_of_others() {
    let (cluster, mut admin, mut mallory) = cluster();
    mallory.batch_execute("CREATE SCHEMA trap").unwrap_err();
    admin
        .batch_execute(
            "CREATE SCHEMA trap AUTHORIZATION mallory; SET ROLE mallory; \
             CREATE FUNCTION trap.caught(text, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'caught'; END$$; \
             CREATE FUNCTION trap.caught(name, name) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'caught'; END$$; \
             CREATE OPERATOR trap.= (leftarg = text, rightarg = text, procedure = trap.caught); \
             CREATE OPERATOR trap.= (leftarg = name, rightarg = name, procedure = trap.caught); \
             RESET ROLE; SET search_path = trap, pg_catalog",
        )
        .unwrap();
    admin.batch_execute("SELECT count(*) FROM helios_check_cluster()").unwrap();
    let port = cluster.node(1).port;
    let add = format!("SELECT helios_add_node('again', 'localhost', {port})");
    refused(&mut admin, &add, "42710", &["node-1"]);
    admin.batch_execute("DROP SCHEMA m, s CASCADE; SELECT helios_remove_node('node-1')").unwrap();
}

/// A schema's owner can distribute or undistribute it only if the functions are granted, whatever the spelling.
#[test]
fn labels_need_the_rights_of_the_functions() {
    let (cluster, mut admin, _) = cluster();
    admin
        .batch_execute(&format!(
            "GRANT CREATE ON DATABASE {} TO mallory",
            testkit::cluster::DATABASE
        ))
        .unwrap();
    let mut mallory = cluster.connect_as("mallory");
    mallory
        .batch_execute(
            "CREATE SCHEMA full_one; CREATE TABLE full_one.t (x int); CREATE SCHEMA empty_one",
        )
        .unwrap();
    let distributed = "SELECT count(*) FROM helios.schema WHERE name IN ('full_one', 'empty_one')";
    for sql in [
        "SECURITY LABEL FOR helios ON SCHEMA full_one IS 'distributed'",
        "SECURITY LABEL FOR helios ON SCHEMA empty_one IS 'distributed'",
        "SECURITY LABEL FOR helios ON SCHEMA m IS NULL",
        "DO $$BEGIN EXECUTE 'SECURITY LABEL FOR helios ON SCHEMA full_one IS ''distributed'''; END$$",
        "SET helios.distribute_new_schemas = on; SECURITY LABEL FOR helios ON SCHEMA full_one IS 'distributed'",
        "SELECT helios_distribute_schema('full_one')",
        "SELECT helios_undistribute_schema('m')",
    ] {
        let hints: &[&str] = if sql.contains("LABEL") { &["GRANT EXECUTE"] } else { &[] };
        refused(&mut mallory, sql, "42501", hints);
    }
    assert_eq!(value(&mut admin, distributed).unwrap().as_deref(), Some("0"));
    assert!(value(&mut admin, "SELECT helios_node_for_schema('m')").unwrap().is_some());
    admin
        .batch_execute("GRANT EXECUTE ON FUNCTION helios_distribute_schema(text, text) TO mallory")
        .unwrap();
    mallory
        .batch_execute("SECURITY LABEL FOR helios ON SCHEMA empty_one IS 'distributed'")
        .unwrap();
    refused(&mut mallory, "SECURITY LABEL FOR helios ON SCHEMA empty_one IS NULL", "42501", &[]);
    assert_eq!(value(&mut admin, distributed).unwrap().as_deref(), Some("1"));
    // Ownership of the schema is still required.
    refused(
        &mut mallory,
        "SECURITY LABEL FOR helios ON SCHEMA s IS 'distributed'",
        "42501",
        &["owner"],
    );
}
