//! A schema moves, and back, while statements over several places read and change it: no row is lost or doubled, and the only
//! error is that of a statement whose schema moved under it, which has done nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use helios_tests::{Cluster, Stop};
use postgres::{Client, Error};

use crate::{assert_clean, cluster, finish, roll_back, switch, text};

/// `t` moves to the node of `o` and back.
const PLACES: [(&str, &str); 3] = [
    ("t", "DISTRIBUTED ON NODE \"node-1\""),
    ("o", "DISTRIBUTED ON NODE \"node-2\""),
    ("here", ""),
];

/// Transactions that make rows `(number, way)` in tables `got` of these schemas. `t.sum` counts those that are named there.
struct Way {
    name: &'static str,
    statements: &'static [&'static str],
    into: &'static [&'static str],
}

const WAYS: [Way; 7] = [
    Way {
        name: "other node to t",
        statements: &[
            "INSERT INTO t.got SELECT $1, 'other node to t' FROM o.source WHERE x = $1 % 500",
        ],
        into: &["t"],
    },
    Way {
        name: "both to t",
        statements: &[
            "INSERT INTO t.got SELECT $1, 'both to t' FROM here.source JOIN o.source USING (x) WHERE x = $1 % 500",
        ],
        into: &["t"],
    },
    Way {
        name: "t to other node",
        statements: &[
            "INSERT INTO o.got SELECT $1, 't to other node' FROM t.source WHERE x = $1 % 500",
        ],
        into: &["o"],
    },
    Way {
        name: "nodes to here",
        statements: &[
            "INSERT INTO here.got SELECT $1, 'nodes to here' FROM t.source JOIN o.source USING (x) WHERE x = $1 % 500",
        ],
        into: &["here"],
    },
    Way {
        name: "update",
        statements: &["UPDATE t.sum SET n = n + 1 FROM here.source AS h JOIN o.source USING (x) \
                       WHERE x = $1 % 500 AND way = 'update'"],
        into: &[],
    },
    Way {
        name: "with",
        statements: &["WITH one AS (UPDATE t.sum SET n = n + 1 WHERE way = 'with' RETURNING way) \
                       INSERT INTO here.got SELECT $1, way FROM one"],
        into: &["here"],
    },
    Way {
        name: "block",
        statements: &[
            "INSERT INTO t.got SELECT $1, 'block' FROM o.source WHERE x = $1 % 500",
            "INSERT INTO o.got SELECT $1, 'block' FROM t.source JOIN here.source USING (x) WHERE x = $1 % 500",
        ],
        into: &["t", "o"],
    },
];

/// A join of all places, whose rows this server computes, or the node with most of them.
const JOIN: &str =
    "SELECT count(*) FROM t.source JOIN o.source USING (x) JOIN here.source USING (x)";
const SIZES: [&str; 2] = ["-1", "0"];

#[derive(Default)]
struct Ledger {
    next: AtomicI64,
    stop: AtomicBool,
    /// Numbers that the server acknowledged, and their ways.
    acknowledged: Mutex<Vec<(i64, &'static str)>>,
    /// Ways of statements whose schema moved under them.
    moved: Mutex<Vec<&'static str>>,
    joins: AtomicI64,
}

impl Ledger {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// True for success; the only error there may be is 40001.
    fn count<T>(&self, way: &'static str, result: &Result<T, Error>) -> bool {
        if let Err(error) = result {
            let code = error.code().map(|code| code.code().to_owned());
            assert_eq!(code.as_deref(), Some("40001"), "{way}: {error:?}");
            self.moved.lock().unwrap().push(way);
        }
        result.is_ok()
    }

    fn change(&self, client: &mut Client, way: &Way) {
        let prepare =
            |sql: &&str| client.prepare_typed(sql, &[postgres::types::Type::INT8]).unwrap();
        let statements: Vec<_> = way.statements.iter().map(prepare).collect();
        while self.goes_on() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let done = match &statements[..] {
                [one] => client.execute(one, &[&number]).map(drop),
                several => client.transaction().and_then(|mut block| {
                    for one in several {
                        block.execute(one, &[&number])?;
                    }
                    block.commit()
                }),
            };
            if self.count(way.name, &done) {
                self.acknowledged.lock().unwrap().push((number, way.name));
            }
        }
    }

    fn join(&self, client: &mut Client) {
        let join = client.prepare(JOIN).unwrap();
        while self.goes_on() {
            let row = client.query_one(&join, &[]);
            if self.count("join", &row) {
                assert_eq!(row.unwrap().get::<_, i64>(0), 500);
                self.joins.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn tables(client: &mut Client) {
    for (schema, place) in PLACES {
        let script = format!(
            "CREATE SCHEMA {schema} {place}; CREATE TABLE {schema}.source (x bigint PRIMARY KEY); \
             INSERT INTO {schema}.source SELECT generate_series(0, 499); \
             CREATE TABLE {schema}.got (number bigint, way text)"
        );
        client.batch_execute(&script).unwrap();
    }
    let sum = "CREATE TABLE t.sum (way text PRIMARY KEY, n bigint NOT NULL DEFAULT 0); \
               INSERT INTO t.sum VALUES ('update'), ('with')";
    client.batch_execute(sum).unwrap();
}

#[test]
fn statements_over_several_places_do_each_thing_once() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    tables(&mut client);
    let ledger = Ledger::default();
    std::thread::scope(|scope| {
        let (cluster, ledger) = (&cluster, &ledger);
        for way in &WAYS {
            scope.spawn(move || ledger.change(&mut cluster.connect(), way));
        }
        for size in SIZES {
            scope.spawn(move || {
                let mut client = cluster.connect();
                client.batch_execute(&format!("SET helios.min_fetched_rows = {size}")).unwrap();
                ledger.join(&mut client);
            });
        }
        let stop = Stop(&ledger.stop);
        for _ in 0..2 {
            let id = switch(&mut client, "t", "node-2");
            std::thread::sleep(Duration::from_millis(300));
            roll_back(&mut client, id);
        }
        for node in ["node-2", "node-1"] {
            let id = switch(&mut client, "t", node);
            std::thread::sleep(Duration::from_millis(300));
            finish(&mut client, id);
        }
        drop(stop);
    });
    audit(&cluster, &mut client, &ledger);
}

/// Compares all tables with what was acknowledged.
fn audit(cluster: &Cluster, client: &mut Client, ledger: &Ledger) {
    let acknowledged = ledger.acknowledged.lock().unwrap();
    for (schema, _) in PLACES {
        let found = client.query(&format!("SELECT number, way FROM {schema}.got"), &[]).unwrap();
        let mut found: Vec<(i64, String)> =
            found.iter().map(|row| (row.get(0), row.get(1))).collect();
        let goes_there =
            |name: &str| WAYS.iter().any(|way| way.name == name && way.into.contains(&schema));
        let mut expected: Vec<(i64, String)> = acknowledged
            .iter()
            .filter(|(_, name)| goes_there(name))
            .map(|(number, name)| (*number, (*name).to_owned()))
            .collect();
        found.sort();
        expected.sort();
        assert!(found == expected, "{schema}.got: {}", difference(&found, &expected));
    }
    let count = |name| acknowledged.iter().filter(|(_, way)| *way == name).count();
    let sums = ["update", "with"].map(|name| format!("{name}|{}", count(name)));
    assert_eq!(text(client, "SELECT way, n FROM t.sum ORDER BY way"), sums);
    // A session is in one statement when the schema moves: six times back and forth.
    let moved = ledger.moved.lock().unwrap();
    for way in WAYS.iter().map(|way| way.name) {
        assert!(count(way) > 20, "{way}: {} acknowledged", count(way));
        let failed = moved.iter().filter(|name| **name == way).count();
        assert!(failed <= 6, "{way}: {failed} statements failed with 40001");
    }
    assert!(ledger.joins.load(Ordering::Relaxed) > 20, "{:?}", ledger.joins);
    println!("{} acknowledged, {:?} joins, moved: {moved:?}", acknowledged.len(), ledger.joins);
    assert_clean(cluster, &["t"]);
}

fn difference(found: &[(i64, String)], expected: &[(i64, String)]) -> String {
    let lost: Vec<_> = expected.iter().filter(|row| found.binary_search(row).is_err()).collect();
    let extra: Vec<_> = found.iter().filter(|row| expected.binary_search(row).is_err()).collect();
    let twice: Vec<_> = found.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    format!("lost {lost:?}, not acknowledged {extra:?}, twice {twice:?}")
}
