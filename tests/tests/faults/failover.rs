//! A node that is a group of servers: one is the primary, and another one takes over when it dies.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use helios_tests::{Cluster, wait_until};
use postgres::Client;

use crate::{BOUND, assert_usable, cluster_with_table, wire};

const WRITERS: usize = 4;

/// What the clients saw.
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<Vec<i64>>,
    errors: Mutex<Vec<(Instant, String)>>,
    stop: AtomicBool,
}

impl Ledger {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Inserts one key after the other until told to stop, in one session.
    fn write(&self, mut client: Client, writer: usize) {
        for i in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let key = i * WRITERS as i64 + writer as i64;
            match client.execute("INSERT INTO n.ledger VALUES ($1)", &[&key]) {
                Ok(_) => self.acknowledged.lock().unwrap().push(key),
                Err(error) => {
                    assert!(!client.is_closed(), "the session with the coordinator ended: {error}");
                    let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
                    self.errors.lock().unwrap().push((Instant::now(), code));
                }
            }
        }
    }
}

fn wait_for_writes(ledger: &Ledger, more: usize) {
    let goal = ledger.count() + more;
    wait_until("writes go on", Duration::from_secs(60), || {
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

/// Promotes, and waits until the server takes writes.
fn promote(cluster: &Cluster, standby: &xtask::server::Server) -> Instant {
    let mut client = standby.connect("postgres").unwrap();
    client.batch_execute("SELECT pg_promote(true, 60)").unwrap();
    wait_until("the standby is promoted", BOUND, || {
        let standby: bool = client.query_one("SELECT pg_is_in_recovery()", &[]).unwrap().get(0);
        if standby { Err("still in recovery".to_owned()) } else { Ok(()) }
    });
    drop(client);
    assert!(cluster.node(1).pid().is_none());
    Instant::now()
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
    let promoted = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (ledger, client) = (&ledger, cluster.connect());
            scope.spawn(move || ledger.write(client, writer));
        }
        wait_for_writes(&ledger, 200);
        cluster.kill_node(1);
        let promoted = promote(&cluster, &standby);
        wait_for_writes(&ledger, 200);
        ledger.stop.store(true, Ordering::Relaxed);
        promoted
    });
    let errors = ledger.errors.lock().unwrap();
    let last = errors.iter().map(|(at, _)| at.saturating_duration_since(promoted)).max();
    println!("{} errors, the last one {last:?} after the promotion", errors.len());
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

/// While no server of the group is a primary, a new statement waits for one, and not longer than the connect timeout.
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
    promote(&cluster, &standby);
    waiting.join().unwrap().unwrap();
    standby.kill().unwrap();
}

/// A statement that only reads is run again when the connection breaks before its first row.
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
    // One that writes is not.
    wire.send_simple("WITH w AS (INSERT INTO n.t VALUES (-1)) SELECT pg_sleep(600)").unwrap();
    crate::wait_for_statement(&cluster, "pg_sleep(600)");
    let terminate = terminate.replace("generate_series(1, 40)", "pg_sleep(600)");
    cluster.connect_to_node(1).query(&terminate, &[]).unwrap();
    let events = wire.until_ready(None).unwrap();
    crate::error(&events);
    let rows = admin.query("SELECT FROM n.t WHERE x = -1", &[]).unwrap();
    assert_eq!(rows.len(), 0);
}
