//! Random statements over three nodes and the coordinator, against one plain server: rows, numbers of rows, contents of the
//! changed table, and codes of errors are the same.
//!
//! `HELIOS_FUZZ_SEED` and `HELIOS_FUZZ_STATEMENTS` choose others.

use std::collections::BTreeMap;
use std::io::Write as _;

use helios_tests::{Cluster, PlainServer};
use postgres::{Client, NoTls, SimpleQueryMessage};
use testkit::cluster::DATABASE;

use super::generator::Generator;

/// Where each schema is: a node, or this server.
const SCHEMAS: [(&str, Option<usize>); 4] =
    [("fa", Some(1)), ("fb", Some(2)), ("fc", Some(3)), ("fl", None)];

const TABLES: [&str; 8] = ["fa.t", "fa.u", "fb.t", "fb.u", "fc.t", "fl.t", "fl.u", "temporary"];

/// Statements that are run where nobody says how many.
const STATEMENTS: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect(name))
}

pub fn set_up(client: &mut Client, distributed: bool) {
    for (schema, node) in SCHEMAS {
        let place = match node {
            Some(node) if distributed => format!(" DISTRIBUTED ON NODE \"node-{node}\""),
            _ => String::new(),
        };
        client.batch_execute(&format!("CREATE SCHEMA {schema}{place}")).unwrap();
    }
    for (i, table) in TABLES.into_iter().enumerate() {
        let temporary = if table == "temporary" { "TEMPORARY " } else { "" };
        let key = if table.ends_with('u') { "" } else { " PRIMARY KEY" };
        client
            .batch_execute(&format!(
                "CREATE {temporary}TABLE {table}
                     (id int{key}, k int, n numeric(8,2), s text, b boolean, d date);
                 INSERT INTO {table}
                 SELECT g, nullif((g * {i} + 3) % 7, 2), nullif((g * 37 + {i}) % 11, 4) / 4.0,
                        nullif(chr(97 + (g + {i}) % 5) || CASE WHEN g % 3 = 0 THEN 'x' ELSE '' END, 'c'),
                        nullif((g + {i}) % 3, 2) = 1, date '2024-01-01' + nullif((g * 5 + {i}) % 9, 6)
                   FROM generate_series(1, {} + {i}) AS g"
                , 9
            ))
            .unwrap();
    }
}

/// A session on a plain server, in a new database of this name.
pub fn plain(database: &str) -> Client {
    let server = &PlainServer::shared().server;
    let mut client = server.config(DATABASE).connect(NoTls).unwrap();
    client.batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
    server.config(database).connect(NoTls).unwrap()
}

/// What came of a statement.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Rows as text, sorted, and the number of rows that were changed.
    Rows(Vec<String>, u64),
    /// The error's SQLSTATE.
    Error(String),
}

pub fn run(client: &mut Client, sql: &str) -> (Answer, String) {
    match client.simple_query(sql) {
        Ok(messages) => {
            let mut rows = Vec::new();
            let mut changed = 0;
            for message in messages {
                match message {
                    SimpleQueryMessage::Row(row) => {
                        let values: Vec<&str> =
                            (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
                        rows.push(values.join(" | "));
                    }
                    SimpleQueryMessage::CommandComplete(count) => changed += count,
                    _ => {}
                }
            }
            rows.sort();
            (Answer::Rows(rows, changed), String::new())
        }
        Err(error) => match error.as_db_error() {
            Some(db) => {
                let text = format!(
                    "{}\n  detail: {}\n  hint: {}\n  where: {}",
                    db.message(),
                    db.detail().unwrap_or_default(),
                    db.hint().unwrap_or_default(),
                    db.where_().unwrap_or_default()
                );
                (Answer::Error(db.code().code().to_owned()), text)
            }
            None => panic!("the connection is lost: {error}\n{sql}"),
        },
    }
}

/// Runs a statement and tells what it leaves in the table that it changes.
fn run_change(client: &mut Client, sql: &str, target: &str) -> (Answer, String) {
    client.batch_execute("BEGIN").unwrap();
    let (answer, text) = run(client, sql);
    let found = match answer {
        Answer::Rows(mut rows, changed) => {
            let (Answer::Rows(contents, _), _) = run(client, &format!("SELECT * FROM {target}"))
            else {
                panic!("cannot read {target}");
            };
            rows.extend(contents);
            Answer::Rows(rows, changed)
        }
        error @ Answer::Error(_) => error,
    };
    client.batch_execute("ROLLBACK").unwrap();
    (found, text)
}

/// Whether both fail because of a constraint: which row of several is the first to violate one depends on their order.
fn both_violate(expected: &Answer, found: &Answer) -> bool {
    let violates =
        |answer: &Answer| matches!(answer, Answer::Error(code) if code.starts_with("23"));
    violates(expected) && violates(found)
}

#[test]
fn random_statements_answer_as_on_one_server() {
    let seed = number("HELIOS_FUZZ_SEED").unwrap_or(1);
    let statements = number("HELIOS_FUZZ_STATEMENTS").unwrap_or(STATEMENTS);
    let cluster = Cluster::start(3);
    let mut helios = cluster.coordinator().config(DATABASE).connect(NoTls).unwrap();
    let mut plain = plain("random_statements");
    for (client, distributed) in [(&mut plain, false), (&mut helios, true)] {
        set_up(client, distributed);
        client.batch_execute("SET statement_timeout = '20s'").unwrap();
    }
    let mut refused: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let (mut failed, mut differences) = (0, Vec::new());
    let mut errors: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for i in 0..statements {
        let mut generator = Generator::new(seed.wrapping_mul(1_000_003).wrapping_add(i), &TABLES);
        // A third of them with rows sent to a node, wherever one can run the statement.
        if let Some(rows) = [Some("0"), Some("1000"), None][i as usize % 3] {
            helios.batch_execute(&format!("SET helios.min_fetched_rows = {rows}")).unwrap();
        }
        let target = ["fl.t", "fa.t", "temporary", "fb.u", "fl.u", "fc.t"][(i / 4) as usize % 6];
        let (sql, expected, found) = if i % 4 == 3 {
            let sql = generator.change(target);
            let expected = run_change(&mut plain, &sql, target);
            let found = run_change(&mut helios, &sql, target);
            (sql, expected, found)
        } else {
            let sql = generator.query();
            let expected = run(&mut plain, &sql);
            let found = run(&mut helios, &sql);
            (sql, expected, found)
        };
        // One of them was too slow: nothing to compare.
        let timeout = |answer: &Answer| matches!(answer, Answer::Error(code) if code == "57014");
        if timeout(&expected.0) || timeout(&found.0) {
            failed += 1;
            continue;
        }
        if let Answer::Error(code) = &expected.0 {
            let message = expected.1.lines().next().unwrap_or_default();
            let error = errors.entry(code.clone()).or_insert((0, format!("{message}\n    {sql}")));
            error.0 += 1;
            failed += 1;
        }
        if expected.0 == found.0 || both_violate(&expected.0, &found.0) {
            continue;
        }
        if found.0 == Answer::Error("0A000".into()) {
            let message = found.1.lines().next().unwrap_or_default().to_owned();
            refused.entry(message).or_insert((0, sql)).0 += 1;
            continue;
        }
        differences.push(format!(
            "statement {i}: {sql}\n  plain:  {:?} {}\n  helios: {:?} {}",
            expected.0, expected.1, found.0, found.1
        ));
    }
    // Not println: the output of passing tests is hidden, and these figures are to be seen.
    let mut out = std::io::stderr().lock();
    writeln!(out, "random statements, seed {seed}: {statements}, {failed} errors on both").unwrap();
    for (code, (count, example)) in &errors {
        writeln!(out, "{count} times {code}: {example}").unwrap();
    }
    for (message, (count, example)) in &refused {
        writeln!(out, "refused {count}: {message}\n    {example}").unwrap();
    }
    drop(out);
    assert!(
        differences.is_empty(),
        "{} of {statements} differ:\n{}",
        differences.len(),
        differences.iter().take(8).map(String::as_str).collect::<Vec<_>>().join("\n")
    );
    assert!(refused.is_empty(), "statements were refused");
}
