//! The test kit itself: it stops what it starts, and a timed-out wait shows the last state.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use helios_tests::{BOUND, PlainServer, pgbench, psql, wait_until};
use testkit::scratch::Scratch;

#[test]
fn dropped_servers_are_gone() {
    let plain = PlainServer::start();
    let pid = plain.server.pid().expect("it runs");
    let data = plain.server.data.clone();
    drop(plain);
    assert!(!testkit::processes::is_alive(pid));
    assert!(!data.exists());
}

#[test]
fn servers_end_when_a_test_panics() {
    let (tell, told) = std::sync::mpsc::channel();
    let failing = std::thread::spawn(move || {
        let plain = PlainServer::start();
        tell.send(plain.server.pid().unwrap()).unwrap();
        panic!("as a failing test does");
    });
    let pid = told.recv().unwrap();
    assert!(failing.join().is_err());
    assert!(!testkit::processes::is_alive(pid));
}

#[test]
fn killed_server_starts_again_with_its_data() {
    let plain = PlainServer::start();
    plain.connect().batch_execute("CREATE TABLE kept AS SELECT 7 AS x").unwrap();
    plain.server.kill().unwrap();
    assert!(plain.server.pid().is_none());
    assert!(plain.server.connect("helios").is_err());
    plain.server.start().unwrap();
    let x: i32 = plain.connect().query_one("SELECT x FROM kept", &[]).unwrap().get(0);
    assert_eq!(x, 7);
}

#[test]
fn busy_port_is_named() {
    let scratch = Scratch::new(1).unwrap();
    let port = scratch.ports.first;
    let _other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let error = scratch.plain_server(&helios_tests::pg(), 0, &[]).unwrap_err();
    assert!(format!("{error:#}").contains(&format!("port {port} is in use")), "{error:#}");
}

#[test]
fn servers_of_one_cluster_have_different_identifiers() {
    let scratch = Scratch::new(2).unwrap();
    let identifier = |index| -> i64 {
        let server = scratch.plain_server(&helios_tests::pg(), index, &[]).unwrap();
        let query = "SELECT system_identifier FROM pg_control_system()";
        server.connect("postgres").unwrap().query_one(query, &[]).unwrap().get(0)
    };
    assert_ne!(identifier(0), identifier(1));
}

#[test]
fn psql_shows_success_and_failure() {
    let server = &PlainServer::shared().server;
    assert_eq!(psql(server, "helios", "SELECT 1, 'x';\nSELECT 2;").ok(), "1|x\n2\n");
    let failed = psql(server, "helios", "SELECT 1/0;");
    assert!(!failed.success);
    assert!(failed.stderr.contains("22012"), "{}", failed.stderr);
}

#[test]
fn pgbench_figures_are_read() {
    let server = &PlainServer::shared().server;
    pgbench(server, "helios", &["--initialize", "--quiet"]);
    let run = pgbench(server, "helios", &["--transactions=50", "--client=2"]);
    assert_eq!(run.transactions, 100, "{}", run.output);
    assert_eq!(run.failed, 0);
    assert!(run.tps > 0.0);
}

#[test]
#[should_panic(expected = "last seen: 3 sheep")]
fn vain_wait_shows_what_was_seen() {
    wait_until("the flock is complete", Duration::from_millis(20), || -> Result<(), String> {
        Err("3 sheep".to_owned())
    });
}

#[test]
fn python_clients_are_at_hand() {
    let Some(python) = helios_tests::python() else { return };
    let script = "import django, psycopg, sqlalchemy; print(psycopg.__version__)";
    let out = Command::new(python).args(["-c", script]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn node_clients_are_at_hand() {
    let Some(modules) = helios_tests::node_modules() else { return };
    let mut node = Command::new("node");
    let out = node.env("NODE_PATH", modules).args(["-e", "require('pg')"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn servers_end_when_the_test_process_is_killed() {
    const ROLE: &str = "HELIOS_TEST_TO_BE_KILLED";
    if std::env::var_os(ROLE).is_some() {
        let plain = PlainServer::start();
        println!("directory {}", plain.server.sockets.display());
        std::thread::sleep(BOUND * 4);
        unreachable!("the other process was to kill this one");
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "harness::servers_end_when_the_test_process_is_killed", "--nocapture"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let dir = lines
        .map(Result::unwrap)
        .find_map(|line| line.split_once("directory ").map(|(_, dir)| PathBuf::from(dir)));
    let dir = dir.expect("it says where its server is");
    assert!(dir.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the directory is gone", BOUND, || {
        if dir.exists() { Err(format!("{} exists", dir.display())) } else { Ok(()) }
    });
}
