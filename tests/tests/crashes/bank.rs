//! A bank: clients move money between accounts on different nodes while nodes and the coordinator are killed. Acknowledged
//! transfers are present, none is present partially or twice, and the total does not change.
//!
//! `HELIOS_BANK_SECONDS` sets the duration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use helios_tests::{Cluster, Stop};
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::settled;

const CLIENTS: u64 = 16;
const SCHEMAS: usize = 4;
const ACCOUNTS: i32 = 20;
const SECONDS: u64 = 15;

/// A client's record of its transfers, by their numbers.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeSet<i64>,
    /// COMMIT returned an error, or nothing.
    uncertain: u64,
}

#[test]
fn no_money_is_lost_while_servers_are_killed() {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '500ms'"]);
    open_accounts(&cluster);
    let seconds = std::env::var("HELIOS_BANK_SECONDS")
        .map_or(SECONDS, |text| text.parse().expect("HELIOS_BANK_SECONDS is a number"));
    let until = Instant::now() + Duration::from_secs(seconds);
    let over = AtomicBool::new(false);
    let ledgers: Vec<Ledger> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (cluster, over) = (&cluster, &over);
                scope.spawn(move || transfer(cluster, number, over))
            })
            .collect();
        let stop = Stop(&over);
        let mut random = fastrand::Rng::new();
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(random.u64(500..2500)));
            let victim = match random.u8(0..3) {
                0 => cluster.coordinator(),
                number => cluster.node(usize::from(number)),
            };
            victim.kill().unwrap();
            std::thread::sleep(Duration::from_millis(random.u64(0..500)));
            victim.start().unwrap();
        }
        drop(stop);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    settled(&cluster);
    audit(&cluster, &ledgers);
}

/// Creates accounts with 1,000 each in schemas placed alternately on the first and the second node.
fn open_accounts(cluster: &Cluster) {
    let mut client = cluster.connect();
    for number in 0..SCHEMAS {
        let node = number % 2 + 1;
        client
            .batch_execute(&format!(
                "CREATE SCHEMA bank{number} DISTRIBUTED ON NODE \"node-{node}\"; \
                 CREATE TABLE bank{number}.account (id int PRIMARY KEY, amount bigint NOT NULL); \
                 CREATE TABLE bank{number}.moved (transfer bigint PRIMARY KEY, account int NOT NULL, \
                                                  amount bigint NOT NULL); \
                 INSERT INTO bank{number}.account SELECT i, 1000 FROM generate_series(1, {ACCOUNTS}) i"
            ))
            .unwrap();
    }
}

/// Transfers money until told to stop, reconnecting as needed.
fn transfer(cluster: &Cluster, number: u64, over: &AtomicBool) -> Ledger {
    let mut ledger = Ledger::default();
    let mut random = fastrand::Rng::new();
    let mut session: Option<Client> = None;
    for count in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let mut client = match session.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => match cluster.coordinator().connect(DATABASE) {
                Ok(client) => client,
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
            },
        };
        let id = (i64::try_from(number).unwrap() << 32) | count;
        match move_money(&mut client, id, &mut random) {
            Moved::Acknowledged => {
                ledger.acknowledged.insert(id);
            }
            Moved::Uncertain => ledger.uncertain += 1,
            Moved::No => {}
        }
        // A session that cannot roll back is closed, which the next iteration detects.
        let _ = client.batch_execute("ROLLBACK");
        session = Some(client);
    }
    ledger
}

enum Moved {
    Acknowledged,
    Uncertain,
    No,
}

/// Runs one transfer between two schemas; rows are locked in order of schemas, so that transfers do not
/// deadlock across servers.
fn move_money(client: &mut Client, id: i64, random: &mut fastrand::Rng) -> Moved {
    let from = random.usize(0..SCHEMAS - 1);
    let to = random.usize(from + 1..SCHEMAS);
    let amount = random.i64(-50..=50);
    let mut work = String::from("BEGIN;");
    for (schema, amount) in [(from, -amount), (to, amount)] {
        let account = random.i32(1..=ACCOUNTS);
        work.push_str(&format!(
            "UPDATE bank{schema}.account SET amount = amount + {amount} WHERE id = {account};\
             INSERT INTO bank{schema}.moved VALUES ({id}, {account}, {amount});"
        ));
    }
    if client.batch_execute(&work).is_err() {
        return Moved::No;
    }
    match client.batch_execute("COMMIT") {
        Ok(()) => Moved::Acknowledged,
        Err(_) => Moved::Uncertain,
    }
}

/// Compares the accounts with the clients' records.
fn audit(cluster: &Cluster, ledgers: &[Ledger]) {
    let mut client = cluster.connect();
    let mut halves: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut sum = 0;
    for number in 0..SCHEMAS {
        let query = format!(
            "SELECT a.amount, 1000 + coalesce(sum(m.amount), 0)::bigint FROM bank{number}.account a \
             LEFT JOIN bank{number}.moved m ON m.account = a.id GROUP BY a.id"
        );
        for row in client.query(&query, &[]).unwrap() {
            let (amount, moved): (i64, i64) = (row.get(0), row.get(1));
            assert_eq!(amount, moved, "an account of bank{number} and what was moved");
            sum += amount;
        }
        let query = format!("SELECT transfer, amount FROM bank{number}.moved");
        for row in client.query(&query, &[]).unwrap() {
            halves.entry(row.get(0)).or_default().push(row.get(1));
        }
    }
    assert_eq!(sum, SCHEMAS as i64 * i64::from(ACCOUNTS) * 1000, "all the money");
    for (id, amounts) in &halves {
        assert!(
            amounts.len() == 2 && amounts[0] == -amounts[1],
            "transfer {id} is there by half or twice: {amounts:?}"
        );
    }
    let acknowledged: Vec<i64> =
        ledgers.iter().flat_map(|ledger| ledger.acknowledged.iter().copied()).collect();
    let lost: Vec<&i64> = acknowledged.iter().filter(|id| !halves.contains_key(id)).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    assert!(acknowledged.len() > 50, "only {} transfers were acknowledged", acknowledged.len());
    let uncertain: u64 = ledgers.iter().map(|ledger| ledger.uncertain).sum();
    println!(
        "{} transfers acknowledged, {uncertain} uncertain, {} done",
        acknowledged.len(),
        halves.len()
    );
}
