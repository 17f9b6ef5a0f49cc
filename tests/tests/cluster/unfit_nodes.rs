//! Servers that cannot be nodes: each is refused with the reason and a hint, without leaving anything half done.

use helios_tests::{Cluster, define_on_node, pg};
use postgres::error::SqlState;
use testkit::scratch::Scratch;
use testkit::server::Server;

const PRELOAD: &str = "shared_preload_libraries = 'helios'";

/// Adds a server to a single-server cluster; returns SQLSTATE, message and hint of the error.
fn refusal(server: &Server, database: &str) -> (SqlState, String, String) {
    let cluster = Cluster::start(0);
    let mut client = cluster.connect();
    let port = i32::from(server.port);
    let add = "SELECT helios_add_node('unfit', '127.0.0.1', $1, $2)";
    let error = client.query(add, &[&port, &database]).expect_err("it is unfit");
    let error = error.as_db_error().expect("a server error").clone();
    let nodes: i64 = client.query_one("SELECT count(*) FROM helios.node", &[]).unwrap().get(0);
    assert_eq!(nodes, 1, "nothing is left behind");
    let shards = "SELECT count(*) FROM helios.shard WHERE node <> 0";
    assert_eq!(client.query_one(shards, &[]).unwrap().get::<_, i64>(0), 0);
    let text = format!("{} {}", error.message(), error.detail().unwrap_or_default());
    (error.code().clone(), text, error.hint().unwrap_or_default().to_owned())
}

fn unfit(settings: &[&str]) -> (SqlState, String, String) {
    let scratch = Scratch::new(1).unwrap();
    let server = scratch.plain_server(&pg(), 0, settings).unwrap();
    refusal(&server, "postgres")
}

#[test]
fn library_not_loaded() {
    let (code, text, hint) = unfit(&["wal_level = logical", "max_prepared_transactions = 9"]);
    assert_eq!(code, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(text.contains("\"unfit\": library check failed"), "{text}");
    assert!(hint.contains("shared_preload_libraries"), "{hint}");
}

#[test]
fn no_prepared_transactions() {
    let settings = [PRELOAD, "wal_level = logical", "max_prepared_transactions = 0"];
    let (code, text, hint) = unfit(&settings);
    assert_eq!(code, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(text.contains("max_prepared_transactions is 0"), "{text}");
    assert!(hint.contains("Set max_prepared_transactions"), "{hint}");
}

#[test]
fn wal_level_too_low() {
    let settings = [PRELOAD, "wal_level = replica", "max_prepared_transactions = 9"];
    let (code, text, hint) = unfit(&settings);
    assert_eq!(code, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(text.contains("wal_level is \"replica\""), "{text}");
    assert!(hint.contains("wal_level = logical"), "{hint}");
}

#[test]
fn other_encoding() {
    let scratch = Scratch::new(1).unwrap();
    let settings = [PRELOAD, "wal_level = logical", "max_prepared_transactions = 9"];
    let server = scratch.plain_server(&pg(), 0, &settings).unwrap();
    let create = "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    server.connect("postgres").unwrap().batch_execute(create).unwrap();
    let (code, text, hint) = refusal(&server, "latin");
    assert_eq!(code, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(text.contains("encoding LATIN1, this database has UTF8"), "{text}");
    assert!(hint.contains("same encoding"), "{hint}");
}

#[test]
fn coordinator_of_another_cluster() {
    let other = Cluster::start(1);
    let (code, text, hint) = refusal(other.coordinator(), "helios");
    assert_eq!(code, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(text.contains("coordinator of another cluster"), "{text}");
    assert!(text.contains("node-1") && hint.contains("Remove its nodes"), "{text} {hint}");
}

/// A relation that exists only on the server would capture names in statements sent there.
#[test]
fn relations_of_its_own() {
    let other = Cluster::start(0);
    let mut there = other.connect();
    there
        .batch_execute(
            "CREATE TABLE public.zz (x int); CREATE TYPE public.fine AS (x int); \
             CREATE SCHEMA old; CREATE VIEW old.v AS SELECT 1 AS x",
        )
        .unwrap();
    let (code, text, hint) = refusal(other.coordinator(), "helios");
    assert_eq!(code, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(text.contains("old.v, public.zz"), "{text}");
    assert!(hint.contains("drop the relations"), "{hint}");
    there.batch_execute("DROP TABLE public.zz; DROP SCHEMA old CASCADE").unwrap();
    let cluster = Cluster::start(0);
    let mut client = cluster.connect();
    let port = i32::from(other.coordinator().port);
    client.query("SELECT helios_add_node('fit', '127.0.0.1', $1)", &[&port]).unwrap();
    client.batch_execute("CREATE SCHEMA s DISTRIBUTED; CREATE TABLE s.t (x serial)").unwrap();
    let wrong =
        "SELECT \"check\", detail FROM helios_check_cluster() WHERE node = 'fit' AND NOT ok";
    assert!(client.query(wrong, &[]).unwrap().is_empty());
    define_on_node(&mut there, "CREATE SEQUENCE public.catches");
    let rows = client.query(wrong, &[]).unwrap();
    let found: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(
        found,
        [("unknown relations".into(), "Unknown to the coordinator: public.catches.".into())]
    );
}

#[test]
fn role_without_rights_there() {
    let scratch = Scratch::new(1).unwrap();
    let server = scratch.plain_server(&pg(), 0, &[PRELOAD]).unwrap();
    let cluster = Cluster::start(0);
    cluster.connect().batch_execute("CREATE ROLE admin SUPERUSER LOGIN").unwrap();
    server.connect("postgres").unwrap().batch_execute("CREATE ROLE admin LOGIN").unwrap();
    let add = "SELECT helios_add_node('unfit', '127.0.0.1', $1, 'postgres')";
    let error = cluster.connect_as("admin").query(add, &[&i32::from(server.port)]).unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{error}");
}

#[test]
fn extension_needs_the_library_at_start() {
    let scratch = Scratch::new(1).unwrap();
    let server = scratch.plain_server(&pg(), 0, &[]).unwrap();
    let mut client = server.connect("postgres").unwrap();
    let error = client.batch_execute("CREATE EXTENSION helios").unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(error.hint().unwrap_or_default().contains("shared_preload_libraries"), "{error:?}");
    let error = client.batch_execute("LOAD 'helios'").unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE), "{error}");
}
