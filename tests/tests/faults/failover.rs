//! A node that is a group of servers: one is the primary, and another one takes over when it dies.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use helios_tests::wait_until;
use postgres::config::TargetSessionAttrs;
use postgres::{Client, NoTls};
use testkit::cluster::DATABASE;
use testkit::server::{HOST, Server};

use crate::lost_nodes::Frozen;
use crate::{BOUND, assert_usable, cluster_with_table, wire};

const WRITERS: usize = 4;
/// How much longer than a plain client a client of the coordinator may have to wait until its first write succeeds.
const BEHIND: Duration = Duration::from_secs(2);

/// Observations of the clients.
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<Vec<i64>>,
    errors: Mutex<Vec<(Instant, String)>>,
    /// When each writer's first write after the primary's failure succeeded.
    back: Mutex<Vec<Instant>>,
    killed: AtomicBool,
    stop: AtomicBool,
}

impl Ledger {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Inserts one key after the other until told to stop, in one session.
    fn write(&self, mut client: Client, writer: usize) {
        let mut back = false;
        for i in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let key = i * WRITERS as i64 + writer as i64;
            let killed = self.killed.load(Ordering::Relaxed);
            match client.execute("INSERT INTO n.ledger VALUES ($1)", &[&key]) {
                Ok(_) => {
                    self.acknowledged.lock().unwrap().push(key);
                    if killed && !back {
                        back = true;
                        self.back.lock().unwrap().push(Instant::now());
                    }
                }
                Err(error) => {
                    assert!(!client.is_closed(), "the session with the coordinator ended: {error}");
                    let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
                    self.errors.lock().unwrap().push((Instant::now(), code));
                }
            }
        }
    }
}

/// When a client that knows both servers, without a coordinator, can write again: it retries like the coordinator's clients,
/// on the same machine at the same time.
fn plain_client_is_back(servers: [&Server; 2]) -> Instant {
    let mut config = servers[0].config(DATABASE);
    config.host(HOST).port(servers[1].port).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let end = Instant::now() + BOUND;
    loop {
        let written = config
            .connect(NoTls)
            .and_then(|mut client| client.batch_execute("INSERT INTO n.t VALUES (-7)"));
        match written {
            Ok(()) => return Instant::now(),
            Err(error) => assert!(Instant::now() < end, "a plain client gets {error}"),
        }
    }
}

fn wait_for_writes(ledger: &Ledger, more: usize) {
    let goal = ledger.count() + more;
    wait_until("writes continue", Duration::from_secs(60), || {
        let count = ledger.count();
        if count >= goal {
            return Ok(());
        }
        let errors = ledger.errors.lock().unwrap();
        Err(format!(
            "{count} of {goal}; last errors: {:?}",
            errors.iter().rev().take(3).collect::<Vec<_>>()
        ))
    });
}

/// Promotes the server, and waits until it accepts writes.
fn promote(standby: &Server) {
    let mut client = standby.connect("postgres").unwrap();
    client.batch_execute("SELECT pg_promote(true, 60)").unwrap();
    wait_until("the standby is promoted", BOUND, || {
        let standby: bool = client.query_one("SELECT pg_is_in_recovery()", &[]).unwrap().get(0);
        if standby { Err("still in recovery".to_owned()) } else { Ok(()) }
    });
}

#[test]
fn standby_takes_over_and_no_acknowledged_write_is_lost() {
    let (cluster, mut client) = cluster_with_table("n");
    client.batch_execute("CREATE TABLE n.ledger (key bigint PRIMARY KEY)").unwrap();
    let (standby, _ports) = cluster.add_standby(1);
    let mut primary = cluster.connect_to_node(1);
    primary.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").unwrap();
    primary.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the standby is synchronous", BOUND, || {
        let query = "SELECT coalesce(string_agg(sync_state, ','), 'none') FROM pg_stat_replication";
        let state: String = primary.query_one(query, &[]).unwrap().get(0);
        if state == "sync" { Ok(()) } else { Err(state) }
    });
    let ledger = Ledger::default();
    let plain = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (ledger, client) = (&ledger, cluster.connect());
            scope.spawn(move || ledger.write(client, writer));
        }
        wait_for_writes(&ledger, 200);
        cluster.kill_node(1);
        ledger.killed.store(true, Ordering::Relaxed);
        let plain = scope.spawn(|| plain_client_is_back([cluster.node(1), &standby]));
        promote(&standby);
        let plain = plain.join().unwrap();
        wait_until("all writers write again", BOUND, || {
            let back = ledger.back.lock().unwrap().len();
            if back == WRITERS { Ok(()) } else { Err(format!("{back} of {WRITERS}")) }
        });
        wait_for_writes(&ledger, 200);
        ledger.stop.store(true, Ordering::Relaxed);
        plain
    });
    let errors = ledger.errors.lock().unwrap();
    let behind = |at: &Instant| at.saturating_duration_since(plain);
    let last = errors.iter().map(|(at, _)| behind(at)).max();
    let back: Vec<_> = ledger.back.lock().unwrap().iter().map(behind).collect();
    println!(
        "after a plain client could write: {} errors until {last:?}; back {back:?}",
        errors.len()
    );
    assert!(last.is_none_or(|last| last <= BEHIND), "errors until {last:?}");
    assert!(back.iter().all(|back| *back <= BEHIND), "back after {back:?}");
    assert!(
        errors.iter().all(|(_, code)| code.starts_with("08") || code.starts_with("57P0")),
        "{errors:?}"
    );
    for key in ledger.acknowledged.lock().unwrap().iter() {
        let there = client.query("SELECT FROM n.ledger WHERE key = $1", &[key]).unwrap();
        assert_eq!(there.len(), 1, "key {key} was acknowledged");
    }
    assert_usable(&mut wire(&cluster), "n");
    standby.kill().unwrap();
}

/// While no server of the group is a primary, a new statement waits for one, but no longer than the connect timeout.
#[test]
fn statement_waits_for_the_new_primary() {
    let (cluster, mut client) = cluster_with_table("n");
    let (standby, _ports) = cluster.add_standby(1);
    cluster.kill_node(1);
    client.batch_execute("SET helios.connect_timeout = '300ms'").unwrap();
    let error = client.batch_execute("INSERT INTO n.t VALUES (0)").unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "08001");
    assert!(error.detail().unwrap_or_default().contains("is a standby"), "{error:?}");
    client.batch_execute("SET helios.connect_timeout = '60s'").unwrap();
    let waiting = std::thread::spawn(move || client.batch_execute("INSERT INTO n.t VALUES (0)"));
    promote(&standby);
    waiting.join().unwrap().unwrap();
    standby.kill().unwrap();
}

/// The address of a machine that disappeared costs only the first session after the failover its timeout,
/// not every session.
#[test]
fn sessions_go_straight_to_the_last_primary() {
    let (cluster, client) = cluster_with_table("n");
    let (standby, _ports) = cluster.add_standby(1);
    promote(&standby);
    let frozen = Frozen::new(&cluster);
    let mut first = cluster.connect();
    first
        .batch_execute("SET helios.connect_timeout = '500ms'; INSERT INTO n.t VALUES (-1)")
        .unwrap();
    for _ in 0..3 {
        let mut next = cluster.connect();
        let script = "SET helios.connect_timeout = '10min'; SET statement_timeout = '60s'";
        next.batch_execute(script).unwrap();
        next.batch_execute("INSERT INTO n.t SELECT min(x) - 1 FROM n.t").unwrap();
    }
    drop((frozen, client));
    standby.kill().unwrap();
}

/// A primary was told to refuse writes and has been replaced, but its sessions are still open. A session that reports this
/// is closed, and the next one connects to the server that accepts writes.
#[test]
fn session_that_refuses_writes_is_given_up() {
    let (cluster, mut client) = cluster_with_table("n");
    // The error of a server that has become a standby while a session was open.
    let script = "CREATE TABLE n.refused (x int); \
                  CREATE FUNCTION n.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                  PERFORM set_config('transaction_read_only', 'on', true); \
                  INSERT INTO n.t VALUES (-9); RETURN NEW; END $$; \
                  CREATE TRIGGER refuse BEFORE INSERT ON n.refused FOR EACH ROW \
                  EXECUTE FUNCTION n.refuse()";
    client.batch_execute(script).unwrap();
    let (standby, _ports) = cluster.add_standby(1);
    let port = |client: &mut Client| -> u16 {
        let query = "SELECT current_setting('port') FROM n.t LIMIT 1";
        client.query_one(query, &[]).unwrap().get::<_, String>(0).parse().unwrap()
    };
    assert_eq!(port(&mut client), cluster.node(1).port);
    promote(&standby);
    let mut old = cluster.connect_to_node(1);
    old.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").unwrap();
    old.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("new sessions with the old primary are read-only", BOUND, || {
        let mut fresh = cluster.connect_to_node(1);
        let value: String =
            fresh.query_one("SHOW default_transaction_read_only", &[]).unwrap().get(0);
        if value == "on" { Ok(()) } else { Err(value) }
    });
    assert_eq!(port(&mut cluster.connect()), standby.port, "a new session");
    assert_eq!(port(&mut client), cluster.node(1).port, "an old one, that has met nothing yet");
    // A client that chose to be read-only gets no message about the server.
    let insert = "INSERT INTO n.refused VALUES (1)";
    client.batch_execute("BEGIN READ ONLY").unwrap();
    let error = client.batch_execute(insert).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25006");
    client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(port(&mut client), cluster.node(1).port, "after its own READ ONLY");
    let error = client.batch_execute(insert).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25006");
    assert_eq!(port(&mut client), standby.port, "after the refusal");
    // In a block, the transaction ends first.
    client.batch_execute("BEGIN; SAVEPOINT a").unwrap();
    let error = client.batch_execute(insert).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25006");
    client.batch_execute("ROLLBACK TO a; INSERT INTO n.t VALUES (-2); COMMIT").unwrap();
    let written = "SELECT FROM n.t WHERE x = -2";
    assert_eq!(standby.connect(DATABASE).unwrap().query(written, &[]).unwrap().len(), 1);
    assert_eq!(old.query(written, &[]).unwrap().len(), 0);
    standby.kill().unwrap();
}

/// A read-only statement is retried if the connection breaks before its first row.
#[test]
fn reading_statement_is_run_again() {
    let (cluster, mut admin) = cluster_with_table("n");
    let mut wire = wire(&cluster);
    wire.send_simple("SELECT count(*) FROM n.t a, n.t b, generate_series(1, 40)").unwrap();
    crate::wait_for_statement(&cluster, "generate_series(1, 40)");
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE query LIKE '%generate_series(1, 40)%' AND pid <> pg_backend_pid()";
    cluster.connect_to_node(1).query(terminate, &[]).unwrap();
    let events = wire.until_ready(None).unwrap();
    let text = format!("{events:?}");
    assert!(!text.contains("Error"), "{text}");
    assert!(events.contains(&helios_tests::Event::Complete("SELECT 1".to_owned())), "{text}");
    // A statement that writes is not.
    wire.send_simple("WITH w AS (INSERT INTO n.t VALUES (-1)) SELECT pg_sleep(600)").unwrap();
    crate::wait_for_statement(&cluster, "pg_sleep(600)");
    let terminate = terminate.replace("generate_series(1, 40)", "pg_sleep(600)");
    cluster.connect_to_node(1).query(&terminate, &[]).unwrap();
    let events = wire.until_ready(None).unwrap();
    crate::error(&events);
    let rows = admin.query("SELECT FROM n.t WHERE x = -1", &[]).unwrap();
    assert_eq!(rows.len(), 0);
}
