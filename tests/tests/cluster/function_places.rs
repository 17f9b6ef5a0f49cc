//! Code of tenants that uses tables which its node does not have: a warning where it is defined, a remedy where it
//! fails, and no failure where it can run on the coordinator.

use std::sync::{Arc, Mutex};

use helios_tests::{Cluster, text};
use postgres::error::DbError;
use postgres::{Client, NoTls};
use testkit::cluster::DATABASE;

/// Warnings as `message|detail|hint`.
type Warnings = Arc<Mutex<Vec<String>>>;

fn shown(error: &DbError) -> String {
    let part = |part: Option<&str>| part.unwrap_or("none").to_owned();
    [error.message().to_owned(), part(error.detail()), part(error.hint())].join("|")
}

/// Connects a client that stores the warnings it receives.
fn listening(cluster: &Cluster, role: &str) -> (Client, Warnings) {
    let warnings = Warnings::default();
    let heard = Arc::clone(&warnings);
    let mut config = cluster.coordinator().config(DATABASE);
    config.user(role).notice_callback(move |notice| {
        if notice.severity() == "WARNING" {
            heard.lock().unwrap().push(shown(&notice));
        }
    });
    (config.connect(NoTls).unwrap(), warnings)
}

fn tenants(cluster: &Cluster) -> (Client, Warnings) {
    let (mut client, warnings) = listening(cluster, "postgres");
    client
        .batch_execute(
            "CREATE SCHEMA ada DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA bob DISTRIBUTED ON NODE \"node-2\";
             CREATE TABLE ada.item (id int PRIMARY KEY, name text); INSERT INTO ada.item VALUES (1, 'tea'), (2, 'cup');
             CREATE TABLE bob.item (id int PRIMARY KEY); INSERT INTO bob.item VALUES (1), (2), (3);
             CREATE TABLE public.list (name text, rate int); INSERT INTO public.list VALUES ('tea', 5), ('cup', 7);
             CREATE TABLE public.shared (id int PRIMARY KEY); SELECT helios_create_reference_table('public.shared');
             CREATE SCHEMA hidden; CREATE TABLE hidden.secret (id int);
             CREATE TABLE public.log (name text)",
        )
        .unwrap();
    warnings.lock().unwrap().clear();
    (client, warnings)
}

fn taken(warnings: &Warnings) -> Vec<String> {
    std::mem::take(&mut warnings.lock().unwrap())
}

fn define(client: &mut Client, name: &str, language: &str, body: &str) {
    let text = format!(
        "CREATE OR REPLACE FUNCTION {name} RETURNS int LANGUAGE {language} AS $f$ {body} $f$"
    );
    client.batch_execute(&text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
}

#[track_caller]
fn fails(client: &mut Client, sql: &str) -> String {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    assert_eq!(error.code().code(), "42P01", "{error:?}");
    shown(error)
}

#[test]
fn definitions_warn_of_tables_that_their_node_does_not_have() {
    let cluster = Cluster::start(2);
    let (mut client, warnings) = tenants(&cluster);
    let reads = "BEGIN RETURN (SELECT max(rate) FROM public.list); END";
    for (language, body) in [("plpgsql", reads), ("sql", "SELECT rate FROM public.list")] {
        define(&mut client, "ada.f()", language, body);
        assert_eq!(
            taken(&warnings),
            ["function ada.f() uses table public.list, which is not on node \"node-1\"\
              |The table public.list is on the coordinator. The function fails where it runs on the node: in triggers, and \
               in statements that change rows.\
              |Make it a reference table, which every node has: SELECT helios_create_reference_table('public.list');"]
        );
    }
    let one = |warnings: &Warnings, words: &str| {
        let found = taken(warnings);
        assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
    };
    define(&mut client, "ada.f()", "sql", "SELECT id FROM bob.item");
    one(&warnings, "SELECT helios_colocate('ada', 'bob');");
    client.batch_execute("CREATE TEMP TABLE mine (id int)").unwrap();
    define(&mut client, "ada.f()", "plpgsql", "BEGIN INSERT INTO mine VALUES (1); RETURN 1; END");
    one(&warnings, "temporary table");
    // The name means what the function's own path says.
    define(&mut client, "ada.f()", "sql", "SELECT rate FROM list");
    one(&warnings, "table public.list");
    client.batch_execute("CREATE TABLE ada.list (rate int)").unwrap();
    client
        .batch_execute("CREATE OR REPLACE FUNCTION ada.f() RETURNS int LANGUAGE sql SET search_path = ada, public AS 'SELECT rate FROM list'")
        .unwrap();
    assert_eq!(taken(&warnings), [""; 0]);
    for body in [
        "SELECT id FROM ada.item",
        "SELECT id FROM public.shared",
        "WITH list AS (SELECT 1 AS x) SELECT x FROM list",
        "SELECT count(*)::int FROM pg_class",
        "SELECT 'FROM public.list'::text IS NULL -- FROM public.list\n OR true",
    ] {
        let body = if body.contains("OR true") {
            body.replace("SELECT", "SELECT 1 WHERE")
        } else {
            body.into()
        };
        define(&mut client, "ada.f()", "sql", &body);
        assert_eq!(taken(&warnings), [""; 0], "{body}");
    }
    // A function of a plain schema runs here, until something on a node calls it.
    client
        .batch_execute(
            "CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO public.log VALUES (NEW.name); RETURN NEW; END';
             CREATE TRIGGER here AFTER INSERT ON public.list FOR EACH ROW EXECUTE FUNCTION public.audit()",
        )
        .unwrap();
    assert_eq!(taken(&warnings), [""; 0]);
    client
        .batch_execute("CREATE TRIGGER audit AFTER INSERT ON ada.item FOR EACH ROW EXECUTE FUNCTION public.audit()")
        .unwrap();
    one(&warnings, "function public.audit() uses table public.log");
    // Nobody is told of what he could not find.
    client
        .batch_execute("CREATE ROLE clerk LOGIN; GRANT CREATE, USAGE ON SCHEMA ada TO clerk; SET client_min_messages = error")
        .unwrap();
    let (mut clerk, heard) = listening(&cluster, "clerk");
    define(&mut clerk, "ada.g()", "plpgsql", "BEGIN RETURN (SELECT id FROM hidden.secret); END");
    define(&mut clerk, "ada.g()", "plpgsql", "BEGIN RETURN (SELECT id FROM nowhere.secret); END");
    assert_eq!(taken(&heard), [""; 0]);
    define(&mut clerk, "ada.g()", "plpgsql", "BEGIN RETURN (SELECT rate FROM public.list); END");
    one(&heard, "table public.list");
}

#[test]
fn failures_on_the_node_say_where_the_table_is() {
    let cluster = Cluster::start(2);
    let (mut client, _) = tenants(&cluster);
    client
        .batch_execute(
            "CREATE FUNCTION ada.audit() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO public.log VALUES (NEW.name); RETURN NEW; END';
             CREATE TRIGGER audit AFTER INSERT ON ada.item FOR EACH ROW EXECUTE FUNCTION ada.audit();
             CREATE FUNCTION ada.other() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM FROM bob.item; RETURN NEW; END';
             CREATE TRIGGER other BEFORE UPDATE ON ada.item FOR EACH ROW EXECUTE FUNCTION ada.other();
             CREATE FUNCTION ada.mine() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN DELETE FROM mine; RETURN OLD; END';
             CREATE TRIGGER mine BEFORE DELETE ON ada.item FOR EACH ROW EXECUTE FUNCTION ada.mine();
             CREATE TEMP TABLE mine (id int)",
        )
        .unwrap();
    assert_eq!(
        fails(&mut client, "INSERT INTO ada.item VALUES (3, 'pot')"),
        "relation \"public.log\" does not exist\
         |The code runs on node \"node-1\", but table public.log is on the coordinator.\
         |Make it a reference table, which every node has: SELECT helios_create_reference_table('public.log');"
    );
    let other = fails(&mut client, "UPDATE ada.item SET name = 'x'");
    assert!(other.contains("table bob.item is on node \"node-2\""), "{other}");
    assert!(other.contains("SELECT helios_colocate('ada', 'bob');"), "{other}");
    let mine = fails(&mut client, "DELETE FROM ada.item");
    assert!(mine.contains("temporary table"), "{mine}");
    assert!(mine.contains("Use a permanent table in schema \"ada\" instead"), "{mine}");
    let copied = client.copy_in("COPY ada.item FROM STDIN").and_then(|mut copy| {
        std::io::Write::write_all(&mut copy, b"4\tjug\n").unwrap();
        copy.finish()
    });
    let copied = shown(copied.unwrap_err().as_db_error().unwrap());
    assert!(copied.contains("helios_create_reference_table('public.log')"), "{copied}");
    // The remedy is one.
    client
        .batch_execute("ALTER TABLE public.log ADD id serial PRIMARY KEY; CREATE ROLE clerk LOGIN; GRANT ALL ON SCHEMA ada TO clerk; GRANT ALL ON ada.item TO clerk")
        .unwrap();
    // A table that is nowhere, or that the user may not see, stays what it is.
    client
        .batch_execute(
            "CREATE OR REPLACE FUNCTION ada.audit() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM FROM hidden.secret; RETURN NEW; END'",
        )
        .unwrap();
    let mut clerk = cluster.connect_as("clerk");
    let hidden = clerk.batch_execute("INSERT INTO ada.item VALUES (3, 'pot')").unwrap_err();
    let hidden = shown(hidden.as_db_error().unwrap());
    assert!(hidden.ends_with("|none|none"), "{hidden}");
}

#[test]
fn functions_that_use_tables_of_the_coordinator_run_there() {
    let cluster = Cluster::start(2);
    let (mut client, warnings) = tenants(&cluster);
    client
        .batch_execute(
            "CREATE FUNCTION public.rate_of(of text) RETURNS int LANGUAGE sql STABLE AS 'SELECT rate FROM public.list WHERE name = of';
             CREATE FUNCTION public.note(of text) RETURNS int LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO public.log VALUES (of); RETURN 1; END';
             CREATE FUNCTION ada.total() RETURNS bigint LANGUAGE plpgsql AS
                 'BEGIN RETURN (SELECT sum(l.rate) FROM public.list l JOIN ada.item i ON i.name = l.name); END';
             CREATE FUNCTION ada.both() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM ada.item a JOIN bob.item b USING (id)';
             CREATE PROCEDURE ada.log_all() LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO public.log SELECT name FROM ada.item; UPDATE ada.item SET name = upper(name); END';
             CREATE FUNCTION ada.kept() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM mine); END'",
        )
        .unwrap();
    taken(&warnings);
    let rates = "SELECT name || public.rate_of(name) FROM ada.item WHERE public.rate_of(name) > 1 ORDER BY name";
    assert_eq!(text(&mut client, rates), ["cup7", "tea5"]);
    assert_eq!(text(&mut client, "SELECT count(public.note(name)) FROM ada.item"), ["2"]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM public.log"), ["2"]);
    assert_eq!(text(&mut client, "SELECT ada.total()"), ["12"]);
    assert_eq!(text(&mut client, "SELECT ada.both()"), ["2"]);
    let prepared = client.prepare("SELECT ada.total() + $1::bigint").unwrap();
    for _ in 0..7 {
        assert_eq!(client.query_one(&prepared, &[&1i64]).unwrap().get::<_, i64>(0), 13);
    }
    client.batch_execute("CALL ada.log_all()").unwrap();
    assert_eq!(text(&mut client, "SELECT count(*) FROM public.log"), ["4"]);
    assert_eq!(text(&mut client, "SELECT name FROM ada.item ORDER BY 1"), ["CUP", "TEA"]);
    client.batch_execute("CREATE TEMP TABLE mine AS SELECT generate_series(1, 4)").unwrap();
    assert_eq!(text(&mut client, "SELECT ada.kept()"), ["4"]);
    // The remedy of the warning brings the function to the node.
    client
        .batch_execute("ALTER TABLE public.list ADD PRIMARY KEY (name); SELECT helios_create_reference_table('public.list')")
        .unwrap();
    let plan = text(&mut client, "EXPLAIN SELECT public.rate_of(name) FROM ada.item").join("\n");
    assert!(plan.contains("Custom Scan (Helios)") && plan.contains("node-1"), "{plan}");
    client
        .batch_execute(
            "UPDATE ada.item SET name = lower(name) || coalesce(public.rate_of(name), 0)",
        )
        .unwrap();
    assert_eq!(text(&mut client, "SELECT name FROM ada.item ORDER BY 1"), ["cup0", "tea0"]);
}
