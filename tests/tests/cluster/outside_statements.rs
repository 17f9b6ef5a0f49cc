//! User code that runs outside of client statements: deferred triggers at the end of a transaction, domain checks
//! while a parameter is bound, functions evaluated by the planner. It is nested code all the same.

use helios_tests::{Cluster, text};
use postgres::Client;

/// A reference table, a tenant on node 1, and three ways to run the tenant's `act()` outside of statements.
fn stage(client: &mut Client, schema: &str, act: &str) -> [String; 3] {
    client
        .batch_execute(&format!(
            "CREATE TABLE public.{schema}_shared (id int PRIMARY KEY, v text); INSERT INTO public.{schema}_shared VALUES (1, 'ours'); \
             SELECT helios_create_reference_table('public.{schema}_shared'); \
             CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE {schema}.t (i int); \
             CREATE FUNCTION {schema}.act() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {act}; RETURN true; END $$; \
             CREATE FUNCTION {schema}.deferred() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {schema}.act(); RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON {schema}.t DEFERRABLE INITIALLY DEFERRED \
                 FOR EACH ROW EXECUTE FUNCTION {schema}.deferred(); \
             CREATE FUNCTION {schema}.constant() RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN {schema}.act(); END $$; \
             CREATE TABLE {schema}.e (i int)"
        ))
        .unwrap();
    [
        format!("INSERT INTO {schema}.t VALUES (1)"),
        format!("BEGIN; INSERT INTO {schema}.t VALUES (1); COMMIT"),
        format!("SELECT {schema}.constant() FROM {schema}.t"),
    ]
}

#[test]
fn no_code_of_a_tenant_writes_the_copy_of_a_reference_table() {
    let mut client = Cluster::shared().connect();
    let update = "UPDATE public.outside_shared SET v = 'theirs'";
    for statement in stage(&mut client, "outside", update) {
        let error = client.batch_execute(&statement).expect_err(&statement);
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "0A000", "{statement}: {error:?}");
        assert!(error.message().contains("reference table"), "{statement}: {error:?}");
        client.batch_execute("ROLLBACK").unwrap();
        let mut node = Cluster::shared().connect_to_node(1);
        let there = text(&mut node, "SELECT v FROM public.outside_shared");
        assert_eq!(there, ["ours"], "{statement}");
    }
}

#[test]
fn settings_of_a_deferred_triggers_function_are_followed() {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(
            "CREATE SCHEMA late DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE late.seen (v text); \
             INSERT INTO late.seen VALUES ('first'); CREATE TABLE public.late_source (i int); \
             CREATE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql SET app.tenant = 'of the function' AS $$ BEGIN \
                 INSERT INTO late.seen SELECT current_setting('app.tenant', true) FROM late.seen LIMIT 1; RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER late AFTER INSERT ON public.late_source DEFERRABLE INITIALLY DEFERRED \
                 FOR EACH ROW EXECUTE FUNCTION public.late(); \
             SET app.tenant = 'of the session'",
        )
        .unwrap();
    let now = "SELECT current_setting('app.tenant') FROM late.seen LIMIT 1";
    for statement in [
        "INSERT INTO public.late_source VALUES (1)",
        "BEGIN; SELECT FROM late.seen; INSERT INTO public.late_source VALUES (1); COMMIT",
    ] {
        assert_eq!(text(&mut client, now), ["of the session"]);
        client.batch_execute(statement).unwrap();
        let seen = text(&mut client, "DELETE FROM late.seen WHERE v <> 'first' RETURNING v");
        assert_eq!(seen, ["of the function"], "{statement}");
        assert_eq!(text(&mut client, now), ["of the session"]);
    }
}
