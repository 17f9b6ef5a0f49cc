//! A password in the connection string is used, but never shown.

use std::os::unix::fs::PermissionsExt;

use helios_tests::{Cluster, wait_until};
use postgres::Client;
use testkit::command;
use testkit::server::Server;

use super::{Abroad, assert_gone, begin, reaches_state};
use crate::{SETTINGS, assert_clean, finish, roll_back, shown, text, wait};

const SECRET: &str = "top%secret'word";

/// A foreign server that requires a password of role `importer` and logs all statements.
fn strict() -> Abroad {
    let abroad = Abroad::start();
    let mut client = abroad.connect();
    let make = "CREATE ROLE importer LOGIN SUPERUSER PASSWORD 'top%secret''word'; CREATE SCHEMA t; \
        CREATE TABLE t.a (id int PRIMARY KEY, v text); INSERT INTO t.a SELECT i, 'v' FROM generate_series(1, 3000) i; \
        CREATE UNLOGGED TABLE t.u (x int); INSERT INTO t.u VALUES (1)";
    client.batch_execute(make).unwrap();
    let path = abroad.0.server.data.join("pg_hba.conf");
    let rules = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("host all importer all scram-sha-256\n{rules}")).unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the password is requested", helios_tests::BOUND, || {
        let mut config = abroad.0.server.config("postgres");
        match config.user("importer").connect(postgres::NoTls) {
            Ok(_) => Err("a session without".to_owned()),
            Err(_) => Ok(()),
        }
    });
    abroad
}

fn loud_cluster() -> Cluster {
    let loud = [
        "log_min_duration_statement = 0",
        "log_min_error_statement = error",
        "helios.migration_rate = 1500",
    ];
    let cluster = Cluster::with_settings(1, &[&SETTINGS[..], &loud].concat());
    cluster.connect().batch_execute("CREATE ROLE importer").unwrap();
    cluster
}

fn log(server: &Server) -> String {
    String::from_utf8_lossy(&std::fs::read(server.log()).unwrap()).into_owned()
}

/// Whether the sessions of a server, or anything readable by an ordinary role, show the password.
#[track_caller]
fn assert_hidden(client: &mut Client) {
    let seen = "SELECT query FROM pg_stat_activity WHERE query LIKE '%sec' || 'ret%' AND pid <> pg_backend_pid() \
        UNION ALL SELECT m::text FROM helios_migrations m WHERE m::text LIKE '%sec' || 'ret%' \
        UNION ALL SELECT m::text FROM helios.migration m WHERE m::text LIKE '%sec' || 'ret%'";
    assert_eq!(text(client, seen), [""; 0]);
    client.batch_execute("SET ROLE importer").unwrap();
    let denied = client.batch_execute("SELECT * FROM helios.foreign_server").unwrap_err();
    assert_eq!(denied.code().unwrap().code(), "42501");
    client.batch_execute("RESET ROLE").unwrap();
}

#[test]
fn a_password_in_the_connection_string_is_shown_nowhere() {
    let (cluster, abroad) = (loud_cluster(), strict());
    let (mut client, mut node) = (cluster.connect(), cluster.connect_to_node(1));
    let from = abroad.conninfo().replace("user=postgres", "user=importer");
    let wrong = format!("{from} password='no%secret'");
    let error = client.query("SELECT helios_import_schema($1, 't')", &[&wrong]).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "08001", "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    // The whole connection string is a URI here, with the password URL-encoded.
    let uri = format!(
        "postgresql://importer:top%25secret%27word@127.0.0.1:{}/{}",
        abroad.0.server.port,
        testkit::cluster::DATABASE
    );
    let id = begin(&mut client, &uri, "t", "node-1");
    reaches_state(&mut client, id, "backfill");
    for side in [&mut client, &mut node] {
        assert_hidden(side);
    }
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    for side in [&mut client, &mut node] {
        assert_hidden(side);
    }
    roll_back(&mut client, id);
    abroad.assert_clean();
    assert_gone(&cluster, "t");
    let kept = "SELECT count(*) FROM helios.foreign_server WHERE password IS NOT NULL";
    assert_eq!(text(&mut client, kept), ["0"]);
    // The statement's parameters are the client's own: check only what Helios adds.
    for server in [cluster.coordinator(), cluster.node(1)] {
        let log = log(server);
        let told: Vec<&str> = log
            .lines()
            // "Parameters" from 16 on.
            .filter(|line| line.contains("secret") && !line.contains("arameters: $1"))
            .collect();
        assert!(told.is_empty(), "{}: {told:#?}", server.name);
    }
}

#[test]
fn a_password_in_the_statement_is_not_in_the_log_of_its_error() {
    let cluster = Cluster::with_settings(1, &["log_min_error_statement = error"]);
    let mut client = cluster.connect();
    let sql = "SELECT helios_import_schema('host=127.0.0.1 port=1 user=u password=topsecret', 't')";
    let error = client.batch_execute(sql).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "08001");
    let log = log(cluster.coordinator());
    assert!(log.contains("could not connect to the foreign server"), "{log}");
    assert!(!log.contains("topsecret"), "{log}");
}

#[test]
fn a_password_file_does() {
    let (cluster, abroad) = (loud_cluster(), strict());
    let mut client = cluster.connect();
    // The server's operating system user reads it.
    let path = cluster.dir().join("passwords");
    std::fs::write(&path, format!("127.0.0.1:{}:*:importer:{SECRET}\n", abroad.0.server.port))
        .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    command::give_to_server_user(&path).unwrap();
    let from = abroad.conninfo().replace("user=postgres", "user=importer");
    let from = format!("{from} passfile={}", path.display());
    let id = begin(&mut client, &from, "t", "node-1");
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    abroad.connect().batch_execute("SELECT 1").unwrap();
    assert_eq!(
        text(&mut client, "SELECT (SELECT count(*) FROM t.a), (SELECT count(*) FROM t.u)"),
        ["3000|1"]
    );
    finish(&mut client, id);
    assert_clean(&cluster, &["t"]);
    for server in [cluster.coordinator(), cluster.node(1)] {
        assert!(!log(server).contains("secret"), "{}", server.name);
    }
}

/// The foreign server follows the node with a password, or reports immediately that it cannot.
#[test]
fn the_way_back_needs_the_password_of_the_node() {
    let (cluster, abroad) = (Cluster::with_settings(1, &SETTINGS), Abroad::start());
    let (mut client, mut node) = (cluster.connect(), cluster.connect_to_node(1));
    let mut there = abroad.connect();
    there.batch_execute("ALTER SYSTEM SET log_statement = 'all'").unwrap();
    there.batch_execute("SELECT pg_reload_conf()").unwrap();
    there.batch_execute("CREATE SCHEMA t; CREATE TABLE t.a (id int PRIMARY KEY)").unwrap();
    node.batch_execute("ALTER ROLE postgres PASSWORD 'nodesecret'").unwrap();
    // The coordinator reads the password from a separate file.
    let file = cluster.dir().join("passwords");
    std::fs::write(&file, "*:*:*:postgres:nodesecret\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    command::give_to_server_user(&file).unwrap();
    client
        .batch_execute(&format!("ALTER SYSTEM SET helios.passfile = '{}'", file.display()))
        .unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    let hba = cluster.node(1).data.join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("host all postgres all scram-sha-256\n{rules}")).unwrap();
    node.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the password is requested", helios_tests::BOUND, || {
        match cluster.node(1).connect("postgres") {
            Ok(_) => Err("a session without".to_owned()),
            Err(_) => Ok(()),
        }
    });
    let from = abroad.conninfo();
    let ask = "SELECT helios_import_schema($1, 't', 'node-1')";
    let error = client.query(ask, &[&from]).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "55000", "{error:?}");
    assert!(error.hint().unwrap().contains("way_back => false"), "{error:?}");
    client
        .batch_execute("INSERT INTO helios.credential VALUES (NULL, 'postgres', 'nodesecret')")
        .unwrap();
    let id = begin(&mut client, &from, "t", "node-1");
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    client.batch_execute("INSERT INTO t.a VALUES (1)").unwrap();
    roll_back(&mut client, id);
    assert_eq!(text(&mut there, "SELECT id FROM t.a"), ["1"]);
    assert!(!log(&abroad.0.server).contains("nodesecret"), "{}", log(&abroad.0.server));
    std::fs::write(&hba, rules).unwrap();
    node.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the node requests none", helios_tests::BOUND, || {
        cluster.node(1).connect("postgres").map(drop).map_err(|error| format!("{error:#}"))
    });
    abroad.assert_clean();
    assert_gone(&cluster, "t");
}
