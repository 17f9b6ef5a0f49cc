//! A list of statements over several places, each compared with one plain server.

use std::fmt::Write as _;

use helios_tests::Cluster;
use postgres::NoTls;
use testkit::cluster::DATABASE;

use super::random::{Answer, plain, run, set_up};

const STATEMENTS: &str = include_str!("statements.sql");

/// Sequences are not rolled back.
const BEGIN: &str = "SELECT setval('fa.numbers', 1000); SELECT setval('fl.numbers', 2000); BEGIN";

#[test]
fn listed_statements_answer_as_on_one_server() {
    let cluster = Cluster::start(3);
    let mut helios = cluster.coordinator().config(DATABASE).connect(NoTls).unwrap();
    let mut plain = plain("listed_statements");
    set_up(&mut plain, false);
    set_up(&mut helios, true);
    let mut report = String::new();
    for client in [&mut plain, &mut helios] {
        client
            .batch_execute(
                "CREATE SEQUENCE fa.numbers START 1000; CREATE SEQUENCE fl.numbers START 2000; \
                 CREATE TABLE fa.tree (gone int, id int, k int, s text) PARTITION BY RANGE (id); ALTER TABLE fa.tree DROP COLUMN gone; \
                 CREATE TABLE fa.tree_low PARTITION OF fa.tree FOR VALUES FROM (0) TO (4); \
                 CREATE TABLE fa.tree_high PARTITION OF fa.tree FOR VALUES FROM (4) TO (100) PARTITION BY LIST (k); \
                 CREATE TABLE fa.tree_rest PARTITION OF fa.tree_high DEFAULT; INSERT INTO fa.tree SELECT id, k, s FROM fa.t; \
                 CREATE TABLE fb.old (id int, k int); CREATE TABLE fb.new (s text) INHERITS (fb.old); \
                 INSERT INTO fb.old SELECT id, k FROM fb.t WHERE id < 5; INSERT INTO fb.new SELECT id, k, s FROM fb.t WHERE id > 3",
            )
            .unwrap();
    }
    for line in STATEMENTS.lines().filter(|line| !line.starts_with("--")) {
        let refused = line.strip_prefix("refused: ");
        let sql = refused.unwrap_or(line);
        let mut answers = [&mut plain, &mut helios].map(|client| {
            client.batch_execute(BEGIN).unwrap();
            let (answer, text) = run(client, sql);
            let mut answers = vec![answer];
            if text.is_empty() {
                for table in ["fa.t", "fl.t", "temporary"] {
                    answers.push(run(client, &format!("SELECT * FROM {table}")).0);
                }
            }
            client.batch_execute("ROLLBACK").unwrap();
            (answers, text)
        });
        let (found, found_text) = std::mem::take(&mut answers[1]);
        let (expected, expected_text) = std::mem::take(&mut answers[0]);
        let is_refused = matches!(found.first(), Some(Answer::Error(code)) if code == "0A000");
        if refused.is_some() && !is_refused || refused.is_none() && expected != found {
            let first = |answers: &[Answer]| format!("{:?}", answers.first());
            writeln!(
                report,
                "{sql}\n  plain:  {} {expected_text}\n  helios: {} {found_text}",
                first(&expected),
                first(&found)
            )
            .unwrap();
        }
    }
    assert!(report.is_empty(), "answers differ:\n{report}");
}
