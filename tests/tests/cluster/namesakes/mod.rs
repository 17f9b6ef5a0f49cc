//! A name in a statement refers to the same object on the node as here: every kind of utility statement is run on names that
//! exist in several schemas, and must have the same effects as on one plain server, or be refused without effects.

mod named;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use helios_tests::{Cluster, PlainServer, pg, text};
use postgres::Client;

const STATEMENTS: &str = include_str!("statements.txt");
const WITHOUT_NAMES: &str = include_str!("without_names.txt");
const DESCRIBE: &str = include_str!("describe.sql");
const PLACES: &str = include_str!("places.sql");
const TEMPORARY: &str = include_str!("temporary.sql");

/// The plain schema, two tenants on node 2, and one on node 1; `tb2` is empty.
const SCHEMAS: [(&str, Option<usize>); 5] =
    [("pl", None), ("ta", Some(1)), ("tb", Some(2)), ("td", Some(2)), ("tb2", Some(2))];

/// Creates the schemas with all named objects; rows and numbers in `place` are 100, 200, … so that schemas can be told
/// apart.
fn set_up(client: &mut Client, distributed: bool) {
    for (number, (schema, node)) in (1..).zip(SCHEMAS) {
        let clause = match node {
            Some(node) if distributed => format!(" DISTRIBUTED ON NODE \"node-{node}\""),
            _ => String::new(),
        };
        client.batch_execute(&format!("CREATE SCHEMA {schema}{clause}")).unwrap();
        client.batch_execute(&DESCRIBE.replace("place.", &format!("{schema}."))).unwrap();
        if schema != "tb2" {
            let places = PLACES.replace("place.", &format!("{schema}."));
            client.batch_execute(&places.replace("100", &format!("{number}00"))).unwrap();
        }
    }
}

fn lines(list: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

/// The contents of these schemas in the open transaction, as seen by a function in schema `asked`.
fn described(client: &mut Client, asked: &str, schemas: &str, rows: bool) -> BTreeSet<String> {
    let query = format!("SELECT {asked}.describe('{{{schemas}}}', {rows})");
    text(client, &query).into_iter().collect()
}

fn differences(what: &str, plain: &BTreeSet<String>, found: &BTreeSet<String>) -> String {
    let mut all = String::new();
    for line in plain.difference(found).take(6) {
        let _ = write!(all, "\n    {what} lacks {line}");
    }
    for line in found.difference(plain).take(6) {
        let _ = write!(all, "\n    {what} has {line}");
    }
    all
}

/// Compares everything in the open transaction; returns the differences.
fn compare(plain: &mut Client, client: &mut Client) -> String {
    let mut all = String::new();
    let mut definitions = BTreeSet::new();
    // A function runs where its schema is; `tb2` is never changed.
    for (asked, schemas, what) in
        [("pl", "pl", "the coordinator"), ("ta", "ta", "node 1"), ("tb2", "tb,td,tb2", "node 2")]
    {
        let expected = described(plain, asked, schemas, true);
        all += &differences(what, &expected, &described(client, asked, schemas, true));
        definitions.extend(expected.into_iter().filter(|line| !line.starts_with("rows of ")));
    }
    let shells = described(client, "pl", "pl,ta,tb,td,tb2", false);
    all + &differences("the shell", &definitions, &shells)
}

enum Outcome {
    Same,
    Refused,
    Wrong(String),
}

fn try_one(plain: &mut Client, client: &mut Client, sql: &str) -> Outcome {
    client.batch_execute("BEGIN").unwrap();
    plain.batch_execute("BEGIN").unwrap();
    let expected = plain.simple_query(sql).map(|_| ());
    let outcome = match (&expected, client.simple_query(sql).map(|_| ())) {
        (Ok(()), Ok(())) => match compare(plain, client) {
            all if all.is_empty() => Outcome::Same,
            all => Outcome::Wrong(all),
        },
        (_, Err(error)) => {
            let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).clone();
            let code = expected.as_ref().err().and_then(|error| error.code().cloned());
            match error.code().code() {
                "0A000" if error.hint().is_some() => Outcome::Refused,
                _ if code.as_ref() == Some(error.code()) => Outcome::Same,
                _ => Outcome::Wrong(format!("\n    {error:?}, on one server {code:?}")),
            }
        }
        (Err(error), Ok(())) => Outcome::Wrong(format!("\n    done, but {error:?}")),
    };
    for client in [client, plain] {
        client.batch_execute("ROLLBACK").unwrap();
        if sql.contains("nextval('s')") {
            for (number, schema) in [(1, "pl"), (2, "ta"), (3, "tb"), (4, "td")] {
                let back = format!("SELECT setval('{schema}.s', {number}00, false)");
                client.batch_execute(&back).unwrap();
            }
        }
    }
    outcome
}

/// Only one in this many statements is tried, unless `HELIOS_CORPUS=full` is set.
const SHARE: usize = 3;

/// Tries all statements with this search_path, with or without temporary objects.
fn try_all(path: &str, temporary: bool) {
    let (cluster, plain) = (Cluster::start(2), PlainServer::start());
    set_up(&mut cluster.connect(), true);
    set_up(&mut plain.connect(), false);
    let (mut here, mut there) = (cluster.connect(), plain.connect());
    for client in [&mut here, &mut there] {
        client.batch_execute(&format!("SET search_path = {path}")).unwrap();
        if temporary {
            client.batch_execute(TEMPORARY).unwrap();
        }
    }
    let untouched = compare(&mut there, &mut here);
    assert!(untouched.is_empty(), "before anything is done:{untouched}");
    let mut wrong = String::new();
    let (mut same, mut refused) = (0, 0);
    let is_full = std::env::var("HELIOS_CORPUS").is_ok_and(|corpus| corpus == "full");
    for (number, (kind, sql)) in lines(STATEMENTS).enumerate() {
        // Each search_path gets another sample of the statements, unless all are requested.
        if !is_full && number % SHARE != path.len() % SHARE {
            continue;
        }
        let may_refuse = path != "tb" || sql.contains("pl.") || kind.ends_with('?');
        match try_one(&mut there, &mut here, sql) {
            Outcome::Same => same += 1,
            Outcome::Refused if may_refuse => refused += 1,
            Outcome::Refused => {
                let _ = write!(wrong, "\n{sql}\n    is refused without a namesake");
            }
            Outcome::Wrong(how) => {
                let _ = write!(wrong, "\n{sql}{how}");
            }
        }
    }
    wrong += &compare(&mut there, &mut here);
    println!("{path}: {same} the same, {refused} refused");
    assert!(wrong.is_empty(), "with {path}: {wrong}");
    let least = if is_full { 100 } else { 100 / SHARE };
    assert!(same > least, "{same} the same, {refused} refused");
}

#[test]
fn every_statement_without_namesakes() {
    try_all("tb", false);
}

#[test]
fn every_statement_with_other_schemas_first() {
    try_all("pl, ta, tb", false);
}

#[test]
fn every_statement_with_a_neighbour_first() {
    try_all("td, tb, pl", false);
}

#[test]
fn every_statement_with_temporary_namesakes() {
    try_all("tb, pl", true);
}

#[test]
fn every_kind_of_statement_is_tried_or_has_a_reason() {
    let output = std::process::Command::new(pg().pg_config).arg("--includedir-server").output();
    let headers = String::from_utf8(output.unwrap().stdout).unwrap();
    let headers = std::path::Path::new(headers.trim());
    let tags = ["nodes/nodes.h", "nodes/nodetags.h"]
        .map(|name| std::fs::read_to_string(headers.join(name)).unwrap_or_default());
    let words = tags.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let kinds: BTreeSet<&str> = words
        .filter_map(|word| word.strip_prefix("T_"))
        .filter(|word| word.ends_with("Stmt"))
        .collect();
    assert!(kinds.len() > 100, "{kinds:?}");
    let tried = || lines(STATEMENTS).map(|(kind, sql)| (kind.trim_end_matches('?'), sql));
    let known: BTreeMap<&str, &str> = tried().chain(lines(WITHOUT_NAMES)).collect();
    let unknown: Vec<_> = kinds.iter().filter(|kind| !known.contains_key(*kind)).collect();
    assert!(unknown.is_empty(), "neither tried nor excused: {unknown:?}");
    let tried: BTreeSet<_> = tried().map(|(kind, _)| kind).collect();
    let both: Vec<_> = lines(WITHOUT_NAMES).filter(|(kind, _)| tried.contains(kind)).collect();
    assert!(both.is_empty(), "tried and excused: {both:?}");
}
