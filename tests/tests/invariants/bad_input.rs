//! Invalid input: a clear error with a suitable SQLSTATE that names the object, and no partial effects.

use std::io::{Read, Write};
use std::net::TcpListener;

use helios_tests::{Cluster, PlainServer, pg};
use postgres::Client;
use testkit::ports::Ports;
use testkit::scratch::Scratch;

use crate::{described, refused, value};

/// State on every server that a refused statement must not change.
fn state(cluster: &Cluster) -> Vec<String> {
    let directory = "SELECT string_agg(t, ';' ORDER BY t) FROM (SELECT 'node ' || name AS t \
                     FROM helios.node UNION ALL SELECT 'shard ' || id || ' ' || node FROM helios.shard \
                     UNION ALL SELECT 'schema ' || name || ' ' || shard FROM helios.schema) x";
    let schemas = "SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace \
                   WHERE nspname !~ '^pg_(toast_)?temp'";
    let mut state = vec![value(&mut cluster.connect(), directory).unwrap().unwrap()];
    let mut clients: Vec<Client> = vec![cluster.connect()];
    clients.extend((1..=cluster.nodes().len()).map(|number| cluster.connect_to_node(number)));
    state.extend(clients.iter_mut().map(|client| value(client, schemas).unwrap().unwrap()));
    state
}

#[test]
fn malformed_names_and_clauses() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA there DISTRIBUTED; CREATE SCHEMA plain").unwrap();
    client.batch_execute("CREATE TABLE plain.t AS SELECT 1 AS x").unwrap();
    let before = state(&cluster);
    let cases: &[(&str, &str, &[&str])] = &[
        ("CREATE SCHEMA there DISTRIBUTED", "42P06", &["\"there\""]),
        ("CREATE SCHEMA plain DISTRIBUTED", "42P06", &["\"plain\""]),
        ("CREATE SCHEMA there", "42P06", &["\"there\""]),
        ("CREATE SCHEMA \"\" DISTRIBUTED", "42601", &[]),
        ("CREATE SCHEMA pg_mine DISTRIBUTED", "42939", &["pg_mine"]),
        ("CREATE SCHEMA x DISTRIBUTED ON NODE nowhere", "42704", &["nowhere"]),
        ("CREATE SCHEMA x DISTRIBUTED ON NODE", "42601", &[]),
        ("CREATE SCHEMA x DISTRIBUTED ON", "42601", &[]),
        ("CREATE SCHEMA x DISTRIBUTED DISTRIBUTED", "42601", &[]),
        ("CREATE SCHEMA x DISTRIBUTED nonsense", "42601", &[]),
        ("CREATE SCHEMA x DISTRIBUTED WITH (nonsense = 1)", "22023", &["nonsense"]),
        ("CREATE SCHEMA x AUTHORIZATION nobody_there DISTRIBUTED", "42704", &["nobody_there"]),
        ("CREATE SCHEMA x DISTRIBUTED CREATE TABLE t (a nothing)", "42704", &["nothing"]),
        ("CREATE TABLE x DISTRIBUTED", "42601", &[]),
        ("SELECT helios_create_schema('there')", "42P06", &["there"]),
        ("SELECT helios_create_schema(NULL)", "22004", &[]),
        ("SELECT helios_create_schema('')", "42602", &[]),
        ("SELECT helios_create_schema('x', 'nowhere')", "42704", &["nowhere"]),
        ("SELECT helios_distribute_schema('nothing_there')", "3F000", &["nothing_there"]),
        ("SELECT helios_distribute_schema('pg_catalog')", "42939", &["pg_catalog"]),
        ("SELECT helios_remove_node('nowhere')", "42704", &["nowhere"]),
        ("ALTER SCHEMA there RENAME TO plain", "42P06", &["plain"]),
        ("ALTER SCHEMA there RENAME TO pg_there", "42939", &["pg_there"]),
        ("DROP SCHEMA nothing_there", "3F000", &["nothing_there"]),
    ];
    let mut wrong = Vec::new();
    for (sql, code, words) in cases {
        match client.simple_query(sql) {
            Ok(_) => wrong.push(format!("{sql}: no error")),
            Err(error) => {
                let (found, text) = described(&error);
                if found != *code || !words.iter().all(|word| text.contains(word)) {
                    wrong.push(format!("{sql}: {found} {text}, expected {code} {words:?}"));
                }
            }
        }
        if state(&cluster) != before {
            wrong.push(format!("{sql}: half done: {:?}", state(&cluster)));
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        value(&mut client, "SELECT helios_node_for_schema('nothing')").unwrap().unwrap(),
        "NULL"
    );
    assert_eq!(
        value(&mut client, "SELECT helios_node_for_schema('plain')").unwrap().unwrap(),
        "NULL"
    );
    // An overlong name is truncated as by PostgreSQL, in the directory, too.
    let long = "x".repeat(70);
    client.batch_execute(&format!("CREATE SCHEMA {long} DISTRIBUTED")).unwrap();
    let node = value(&mut client, &format!("SELECT helios_node_for_schema('{}')", &long[..63]));
    assert_eq!(node.unwrap().as_deref(), Some("node-1"));
}

/// Adds a node that is unreachable; the error must name the node.
fn refused_node(client: &mut Client, host: &str, port: u16) -> (String, String) {
    let sql = format!("SELECT helios_add_node('wanted', '{host}', {port})");
    let error = described(&client.batch_execute(&sql).unwrap_err());
    let named = error.1.contains("wanted") || error.1.contains(&port.to_string());
    assert!(named, "neither the node nor its port is named: {error:?}");
    error
}

#[test]
fn unreachable_addresses() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    let before = state(&cluster);
    // Nothing is listening.
    let closed = Ports::take(1).unwrap();
    let (code, _) = refused_node(&mut client, "127.0.0.1", closed.first);
    assert!(code.starts_with("08"), "{code}");
    // No such host.
    let (code, _) = refused_node(&mut client, "no.such.host.invalid", 5432);
    assert!(code.starts_with("08"), "{code}");
    // A listener that never responds: only the client's own timeout ends that.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    client.batch_execute("SET statement_timeout = '2s'").unwrap();
    let sql = format!("SELECT helios_add_node('wanted', '127.0.0.1', {port})");
    refused(&mut client, &sql, "57014", &[]);
    client.batch_execute("RESET statement_timeout").unwrap();
    // A listener with another protocol, and one that closes the connection.
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"",
        b"R\xff\xff\xff\xffgarbage",
        b"E\0\0\0\x05\0",
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // The startup message, or a part of it: it is not answered properly anyway.
                let _ = stream.read(&mut [0; 64]);
                let _ = stream.write_all(answer);
            });
            let (code, text) = refused_node(&mut client, "127.0.0.1", port);
            assert!(code.starts_with("08"), "{code} {text}");
        });
    }
    for (host, port) in
        [("", "5432"), ("127.0.0.1", "0"), ("127.0.0.1", "-1"), ("127.0.0.1", "70000")]
    {
        let sql = format!("SELECT helios_add_node('wanted', '{host}', {port})");
        let (code, text) = described(&client.batch_execute(&sql).unwrap_err());
        assert_eq!(code, "22023", "{host}:{port}: {text}");
    }
    assert_eq!(state(&cluster), before);
}

#[test]
fn servers_that_cannot_be_nodes() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    let before = state(&cluster);
    // Without Helios.
    let plain = PlainServer::start();
    let (code, text) = refused_node(&mut client, "127.0.0.1", plain.server.port);
    assert!(text.contains("helios"), "{code} {text}");
    // Without prepared transactions, and without the right wal_level.
    for (setting, word) in [
        ("max_prepared_transactions = 0", "max_prepared_transactions"),
        ("wal_level = replica", "wal_level"),
    ] {
        let scratch = Scratch::new(1).unwrap();
        let settings = ["shared_preload_libraries = 'helios'", setting];
        let server = scratch.plain_server(&pg(), 0, &settings).unwrap();
        server.connect("postgres").unwrap().batch_execute("CREATE DATABASE helios").unwrap();
        server.connect("helios").unwrap().batch_execute("CREATE EXTENSION helios").unwrap();
        let (code, text) = refused_node(&mut client, "127.0.0.1", server.port);
        assert!(text.contains(word), "{code} {text}");
        // With another encoding.
        let other = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
        server.connect("postgres").unwrap().batch_execute(other).unwrap();
        let mut latin = server.connect("latin").unwrap();
        refused(&mut latin, "CREATE EXTENSION helios", "0A000", &["UTF8", "LATIN1"]);
        let sql =
            format!("SELECT helios_add_node('wanted', '127.0.0.1', {}, 'latin')", server.port);
        let (code, text) = described(&client.batch_execute(&sql).unwrap_err());
        assert!(text.to_lowercase().contains("encoding"), "{code} {text}");
    }
    // A nonexistent database.
    let port = cluster.node(1).port;
    let sql = format!("SELECT helios_add_node('wanted', '127.0.0.1', {port}, 'nothing')");
    let (code, text) = described(&client.batch_execute(&sql).unwrap_err());
    assert!(text.contains("nothing"), "{code} {text}");
    assert_eq!(state(&cluster), before);
}

#[test]
fn node_added_twice() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    let before = state(&cluster);
    let (own, one) = (cluster.coordinator().port, cluster.node(1).port);
    let add =
        |name: &str, port: u16| format!("SELECT helios_add_node('{name}', '127.0.0.1', {port})");
    refused(&mut client, &add("node-1", one), "42710", &["node-1"]);
    refused(&mut client, &add("node-2", one), "42710", &["node-1"]);
    refused(&mut client, &add("again", one), "42710", &["node-1"]);
    refused(&mut client, &add("myself", own), "22023", &["coordinator"]);
    refused(&mut client, &add("", one), "42602", &[]);
    // The same address under another name.
    let sql = format!("SELECT helios_add_node('again', 'localhost', {one})");
    refused(&mut client, &sql, "42710", &["node-1"]);
    assert_eq!(state(&cluster), before);
}

#[test]
fn node_with_schemas_is_not_removed() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    let create = "CREATE SCHEMA held_a DISTRIBUTED ON NODE \"node-1\"; \
                  CREATE SCHEMA held_b DISTRIBUTED ON NODE \"node-1\"";
    client.batch_execute(create).unwrap();
    let before = state(&cluster);
    let error =
        described(&client.batch_execute("SELECT helios_remove_node('node-1')").unwrap_err());
    assert!(error.1.contains("held_a") && error.1.contains("held_b"), "{error:?}");
    assert_eq!(state(&cluster), before);
    client.batch_execute("DROP SCHEMA held_a, held_b CASCADE").unwrap();
    client.batch_execute("SELECT helios_remove_node('node-1')").unwrap();
    client.batch_execute("CREATE SCHEMA goes_on DISTRIBUTED").unwrap();
    assert_eq!(cluster.node_of("goes_on").name, "node-2");
}

#[test]
fn schema_dropped_while_it_is_used() {
    let cluster = Cluster::start(1);
    let mut user = cluster.connect();
    let create = "CREATE SCHEMA u DISTRIBUTED; CREATE TABLE u.t AS SELECT generate_series(1, 10) AS x; \
                  PREPARE p AS SELECT count(*) FROM u.t";
    user.batch_execute(create).unwrap();
    user.batch_execute("BEGIN; SELECT * FROM u.t; DECLARE c CURSOR FOR SELECT x FROM u.t ORDER BY x; FETCH 1 FROM c")
        .unwrap();
    let mut admin = cluster.connect();
    let drop = "SET lock_timeout = '300ms'; DROP SCHEMA u CASCADE";
    assert_eq!(described(&admin.batch_execute(drop).unwrap_err()).0, "55P03");
    // No partial effects: the user's session continues, and everything is present on both servers.
    assert_eq!(value(&mut user, "FETCH 1 FROM c").unwrap().as_deref(), Some("2"));
    assert_eq!(value(&mut user, "EXECUTE p").unwrap().as_deref(), Some("10"));
    user.batch_execute("COMMIT").unwrap();
    admin.batch_execute("SET lock_timeout = '60s'; DROP SCHEMA u CASCADE").unwrap();
    for (sql, code) in [
        ("SELECT * FROM u.t", "42P01"),
        ("EXECUTE p", "42P01"),
        ("CREATE TABLE u.x (i int)", "3F000"),
    ] {
        refused(&mut user, sql, code, &[]);
    }
    assert_eq!(
        value(&mut user, "SELECT helios_node_for_schema('u')").unwrap().as_deref(),
        Some("NULL")
    );
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'u'";
    assert_eq!(value(&mut cluster.connect_to_node(1), left).unwrap().as_deref(), Some("0"));
}

/// Changes on the node itself that bypass the coordinator.
#[test]
fn table_dropped_on_the_node_itself() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA b DISTRIBUTED; CREATE TABLE b.t (x int)").unwrap();
    cluster
        .connect_to_node(1)
        .batch_execute("SET helios.migration_session = on; DROP TABLE b.t")
        .unwrap();
    refused(&mut client, "SELECT * FROM b.t", "42P01", &["b.t"]);
    refused(&mut client, "INSERT INTO b.t VALUES (1)", "42P01", &["b.t"]);
    client.batch_execute("CREATE TABLE b.other (x int); INSERT INTO b.other VALUES (1)").unwrap();
}

#[test]
fn several_nodes_in_one_statement_change_what_they_say() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    for (schema, node) in [("one", "node-1"), ("two", "node-2")] {
        let sql = format!(
            "CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"{node}\"; \
                           CREATE TABLE {schema}.t AS SELECT 1 AS x"
        );
        client.batch_execute(&sql).unwrap();
    }
    client.batch_execute("CREATE TABLE public.l AS SELECT 1 AS x").unwrap();
    for sql in [
        "SELECT * FROM one.t, two.t",
        "INSERT INTO one.t SELECT x FROM two.t",
        "SELECT * FROM one.t UNION ALL SELECT * FROM two.t",
        "UPDATE one.t SET x = 2 WHERE x IN (SELECT x FROM two.t)",
        "WITH w AS (DELETE FROM one.t RETURNING x) INSERT INTO two.t SELECT x FROM w",
    ] {
        client.batch_execute(&format!("BEGIN; {sql}; ROLLBACK")).expect(sql);
    }
    for sql in ["SELECT * FROM one.t, public.l", "INSERT INTO public.l SELECT x FROM one.t"] {
        client.batch_execute(&format!("BEGIN; {sql}; ROLLBACK")).expect(sql);
    }
    // What cannot run names the places.
    let both =
        "WITH w AS (DELETE FROM one.t RETURNING x) INSERT INTO two.t SELECT w.x FROM w, one.t";
    refused(&mut client, both, "0A000", &["\"w\"", "node-1"]);
    let sql = "SELECT (SELECT count(*) FROM one.t WHERE x = 1)";
    assert_eq!(value(&mut client, sql).unwrap().as_deref(), Some("1"));
}
