//! The scanner hook where it is not wanted, cannot work, or faces adverse conditions.

use std::process::Command;

use helios_tests::{Bound, Cluster, Event, Wire, pg, psql};
use postgres::error::ErrorPosition;
use postgres::{Client, SimpleQueryMessage};
use testkit::scratch::Scratch;
use testkit::server::Server;

const DATABASE: &str = "postgres";

/// A server with the extension; it is stopped with its scratch directory.
fn server(settings: &[&str]) -> (Scratch, Server) {
    let scratch = Scratch::new(1).unwrap();
    let server = scratch.plain_server(&pg(), 0, settings).unwrap();
    server.connect(DATABASE).unwrap().batch_execute("CREATE EXTENSION helios").unwrap();
    (scratch, server)
}

/// Like [`server`], with a library loaded before Helios that causes trouble.
fn hostile_server(trouble: &str) -> (Scratch, Server) {
    let pg = pg();
    let headers = Command::new(&pg.pg_config).arg("--includedir-server").output().unwrap();
    let headers = String::from_utf8(headers.stdout).unwrap();
    let scratch = Scratch::new(1).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parser/hostile.c");
    let library = scratch.dir.join("hostile.so");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-I", headers.trim(), &format!("-D{trouble}"), "-o"]);
    let out = compile.arg(&library).arg(source).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let load = format!("shared_preload_libraries = '{},helios'", library.display());
    let server = scratch.plain_server(&pg, 0, &[&load]).unwrap();
    server.connect(DATABASE).unwrap().batch_execute("CREATE EXTENSION helios").unwrap();
    (scratch, server)
}

fn node_of(client: &mut Client, schema: &str) -> Option<String> {
    client.query_one("SELECT helios_node_for_schema($1)", &[&schema]).unwrap().get(0)
}

fn state(client: &mut Client) -> String {
    client.query_one("SELECT helios.grammar_state()", &[]).unwrap().get(0)
}

/// The clause is a plain syntax error, the server logs the reason in one warning, and DISTRIBUTED schemas can be
/// created in all other ways.
fn assert_other_spellings_work(server: &Server, reason: &str) {
    let log = std::fs::read_to_string(server.log()).unwrap();
    let warnings = log.matches("WARNING:  CREATE SCHEMA ... DISTRIBUTED is not available");
    assert_eq!(warnings.count(), 1, "{log}");
    assert!(log.contains(reason), "{log}");
    let mut client = server.connect(DATABASE).unwrap();
    assert!(state(&mut client).contains(reason), "{}", state(&mut client));
    let error = client.batch_execute("CREATE SCHEMA a DISTRIBUTED").unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "42601");
    assert_eq!(error.position(), Some(&ErrorPosition::Original(17)));
    client
        .batch_execute(
            "CREATE SCHEMA plain; \
             SELECT helios_create_schema('b'); \
             SET helios.distribute_new_schemas = on; CREATE SCHEMA c; \
             RESET helios.distribute_new_schemas; \
             CREATE SCHEMA d; SELECT helios_distribute_schema('d'); \
             CREATE SCHEMA e; SECURITY LABEL FOR helios ON SCHEMA e IS 'distributed'; \
             CREATE SCHEMA distributed",
        )
        .unwrap();
    for schema in ["b", "c", "d", "e"] {
        assert_eq!(node_of(&mut client, schema).as_deref(), Some("coordinator"), "{schema}");
    }
    for schema in ["plain", "distributed"] {
        assert_eq!(node_of(&mut client, schema), None, "{schema}");
    }
}

#[test]
fn grammar_off_leaves_the_other_spellings() {
    let settings = ["shared_preload_libraries = 'helios'", "helios.grammar = off"];
    let (_scratch, server) = server(&settings);
    assert_other_spellings_work(&server, "helios.grammar is off");
}

#[test]
fn failed_self_test_leaves_the_other_spellings() {
    let (_scratch, server) = hostile_server("NO_ZONE");
    assert_other_spellings_work(&server, "self-test failed: keywords were not recognized");
}

#[test]
fn memory_that_cannot_be_written_leaves_the_other_spellings() {
    let (_scratch, server) = hostile_server("NO_WRITE");
    assert_other_spellings_work(&server, "could not make keyword table writable");
}

/// Wherever the words are in memory, and whatever byte follows SCHEMA.
fn assert_every_page_offset(server: &Server) {
    let mut wire = Wire::connect(server, DATABASE);
    for statement in ["SET log_min_messages = panic", "BEGIN", "SELECT 1/0"] {
        wire.simple(statement, None).unwrap();
    }
    for (spelling, expected) in [
        ("CREATE SCHEMA \"a b\" DISTRIBUTED", "25P02"),
        ("CREATE SCHEMA\"a b\"DISTRIBUTED ON NODE\"c\"", "25P02"),
        ("CREATE/* */SCHEMA--\n\"a b\" DISTRIBUTED", "25P02"),
        ("CREATE SCHEMA \"a DISTRIBUTED b\"", "25P02"),
        ("CREATE SCHEMA\"a DISTRIBUTED\" DISTRIBUTED x", "42601"),
    ] {
        for offset in 0..4200 {
            let text = format!("{}{spelling}", " ".repeat(offset));
            let events = wire.simple(&text, None).unwrap();
            let code = events[0].field('C');
            assert_eq!(code, Some(expected), "{spelling} behind {offset} spaces: {events:?}");
        }
    }
}

#[test]
fn every_page_offset_is_read() {
    let (_scratch, server) = server(&["shared_preload_libraries = 'helios'"]);
    assert_every_page_offset(&server);
}

#[test]
fn containers_that_forbid_reading_memory_are_no_trouble() {
    let (_scratch, server) = hostile_server("NO_READ");
    assert_eq!(state(&mut server.connect(DATABASE).unwrap()), "on");
    assert_every_page_offset(&server);
}

#[test]
fn hundred_sessions_at_once_and_a_reload() {
    let cluster = Cluster::start(0);
    let server = cluster.coordinator();
    std::thread::scope(|scope| {
        for session in 0..100 {
            let mut client = cluster.connect();
            scope.spawn(move || {
                for round in 0..3 {
                    let name = format!("many_{session}_{round}");
                    let create = format!("CREATE SCHEMA {name} DISTRIBUTED");
                    client.batch_execute(&create).unwrap();
                    assert_eq!(node_of(&mut client, &name).as_deref(), Some("coordinator"));
                }
            });
        }
        for _ in 0..5 {
            psql(server, testkit::cluster::DATABASE, "SELECT pg_reload_conf()").ok();
        }
    });
    let count: i64 = cluster
        .connect()
        .query_one("SELECT count(*) FROM helios_schemas WHERE schema LIKE 'many_%'", &[])
        .unwrap()
        .get(0);
    assert_eq!(count, 300);
}

#[test]
fn long_statements_are_read() {
    let mut client = Cluster::shared().connect();
    let long = "x ".repeat(30_000);
    for (name, statement) in [
        ("long_1", format!("CREATE SCHEMA long_1 DISTRIBUTED; SELECT '{long}'")),
        ("long_2", format!("SELECT '{long}'; CREATE SCHEMA long_2 DISTRIBUTED")),
        ("long_3", format!("CREATE SCHEMA /*{long}*/ long_3 DISTRIBUTED /*{long}*/")),
        ("long_4", format!("CREATE SCHEMA long_4 DISTRIBUTED{}", "; SELECT 1".repeat(5000))),
        ("long_5", format!("{}CREATE SCHEMA long_5 DISTRIBUTED", "SELECT 1;".repeat(7000))),
        ("long_6", format!("CREATE /*{}*/ SCHEMA long_6 DISTRIBUTED", "x".repeat(4000))),
    ] {
        client.batch_execute(&statement).unwrap();
        assert!(node_of(&mut client, name).is_some(), "{name}");
    }
    // The two words are not recognized as belonging together: the standard parser's error, nothing worse.
    let far = format!("CREATE /*{long}*/ SCHEMA far DISTRIBUTED");
    let error = client.batch_execute(&far).unwrap_err();
    assert_eq!(error.as_db_error().unwrap().code().code(), "42601");
}

#[test]
fn clause_is_understood_on_every_path() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "DO $$ BEGIN CREATE SCHEMA path_1 DISTRIBUTED; END $$; \
             DO $$ BEGIN EXECUTE 'create schema ' || 'path_2' || ' distributed'; END $$; \
             CREATE FUNCTION path_3() RETURNS void LANGUAGE sql \
                 AS 'CREATE SCHEMA path_3 DISTRIBUTED'; \
             CREATE FUNCTION path_4() RETURNS void LANGUAGE plpgsql \
                 AS 'BEGIN CREATE SCHEMA path_4 DISTRIBUTED; DROP SCHEMA path_4; END'; \
             SELECT path_3(); SELECT path_4(); SELECT path_4(); \
             CREATE SCHEMA path_4 DISTRIBUTED; \
             BEGIN; CREATE SCHEMA path_5 DISTRIBUTED CREATE TABLE t (a int); COMMIT; \
             CREATE SCHEMA path_6 DISTRIBUTED; CREATE SCHEMA path_7; CREATE SCHEMA distributed",
        )
        .unwrap();
    client.execute("CREATE SCHEMA path_8 DISTRIBUTED", &[]).unwrap();
    let mut wire = Wire::connect(cluster.coordinator(), testkit::cluster::DATABASE);
    let events =
        wire.extended("CREATE SCHEMA path_9 DISTRIBUTED", &Bound::default(), None).unwrap();
    assert!(events.contains(&Event::Complete("CREATE SCHEMA".to_owned())), "{events:?}");
    for number in [1, 2, 3, 4, 5, 6, 8, 9] {
        assert!(node_of(&mut client, &format!("path_{number}")).is_some(), "path_{number}");
    }
    for schema in ["path_7", "distributed"] {
        assert_eq!(node_of(&mut client, schema), None, "{schema}");
    }
    let rows = client.simple_query("SELECT * FROM path_5.t").unwrap();
    assert!(matches!(rows.last(), Some(SimpleQueryMessage::CommandComplete(0))));
}

/// Error positions count characters, whatever precedes the clause or is in it.
#[test]
fn error_positions_count_characters() {
    let mut client = Cluster::shared().connect();
    for (text, token, code) in [
        ("SELECT 'äöü€😀'; CREATE SCHEMA p DISTRIBUTED ON NOD n", "NOD", "42601"),
        ("/* 😀 */ CREATE SCHEMA p DISTRIBUTED ON NODE größe; SELEC 1", "SELEC", "42601"),
        ("SELECT 'ä'; /* ö */ CREATE SCHEMA p DISTRIBUTED ON NODE nirgends", "nirgends", "42704"),
        ("SELECT 'ä';CREATE SCHEMA \"ö€\" DISTRIBUTED ON NODE \"größe\"", "\"größe\"", "42704"),
        ("SELECT '😀'; CREATE SCHEMA p DISTRIBUTED WITH (farbe = 'röt')", "farbe", "22023"),
        ("CREATE SCHEMA p DISTRIBUTED; SELECT 'ö', ä FROM pg_class", "ä", "42703"),
        ("CREATE SCHEMA p DISTRIBUTED CREATE TABLE t (a int, b ö)", "ö", "42704"),
    ] {
        let error = client.batch_execute(text).unwrap_err();
        let error = error.as_db_error().unwrap();
        let expected = text[..text.find(token).unwrap()].chars().count() as u32 + 1;
        let found = error.position();
        assert_eq!(found, Some(&ErrorPosition::Original(expected)), "{text}: {error:?}");
        assert_eq!(error.code().code(), code, "{text}: {error:?}");
        assert_eq!(node_of(&mut client, "p"), None, "{text}");
    }
}
