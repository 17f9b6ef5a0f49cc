//! Queries in procedural languages are sent to a node as text deparsed by PostgreSQL. That text must parse
//! again, with the same meaning: deparsed again, it must be the same text.
//!
//! The queries are those of PostgreSQL's own regression suite, each run at its place in its script, so that its tables
//! exist. All scripts with `HELIOS_CORPUS=full`, otherwise a few that contain most of the constructs.

use helios_tests::Cluster;
use postgres::{Client, NoTls};

use crate::corpus;

/// Scripts in the sample; the first creates tables for all of them.
const SAMPLE: [&str; 9] = [
    "test_setup",
    "create_index",
    "with",
    "join",
    "groupingsets",
    "window",
    "merge",
    "insert_conflict",
    "rangefuncs",
];

/// Texts that differ without a difference in meaning, and those that PostgreSQL's own deparser gets wrong: these cause
/// errors on the node, never wrong rows.
const KNOWN: [(&str, &str); 11] = [
    ("]))::", "a cast of an array is taken into the array"),
    ("])::", "a cast of an array is taken into the array"),
    ("::integer AS int4", "columns of INSERT … SELECT get names that mean nothing"),
    ("::numeric AS \"numeric\"", "columns of INSERT … SELECT get names that mean nothing"),
    ("::unknown AS unknown", "columns of INSERT … SELECT get names that mean nothing"),
    ("(- ", "a sign becomes a part of the constant"),
    ("(((f1 >=", "ANDs in ANDs are one"),
    ("ORDER BY \"name\" is ambiguous", "42702: two columns of one name"),
    ("VALUES ())", "42601: VALUES of a row without columns"),
    ("(ROW(ROW(1)) IN (", "42804: a row of one row"),
    ("interval field value out of range", "22015: the least interval"),
];

fn faults(client: &mut Client, statements: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for statement in statements {
        let effect = client.query_one("SELECT helios.deparse_effect($1)", &[statement]);
        // In a transaction aborted by a script, no queries are possible.
        let effect = effect.ok().and_then(|row| row.get::<_, Option<String>>(0));
        if let Some(wrong) =
            effect.filter(|wrong| !KNOWN.iter().any(|(part, _)| wrong.contains(part)))
        {
            found.push(format!("{statement}\n  => {wrong}"));
        }
        let lower = statement.to_ascii_lowercase();
        if lower.starts_with("copy") && (lower.contains("stdin") || lower.contains("stdout")) {
            continue; // its data is unavailable
        }
        // Scripts contain intentional errors, and need psql.
        let _ = client.simple_query(statement);
        if client.is_closed() {
            return found; // some terminate their own session
        }
    }
    found
}

#[test]
fn deparsed_queries_are_understood_and_mean_the_same() {
    let Some(files) = corpus::files() else { return };
    let cluster = Cluster::start(0);
    let mut first = cluster.connect();
    first
        .batch_execute("CREATE DATABASE corpus TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        .unwrap();
    let connect = {
        let config = cluster.coordinator().config("corpus");
        move || config.connect(NoTls).unwrap()
    };
    connect().batch_execute("CREATE EXTENSION helios").unwrap();
    let full = std::env::var("HELIOS_CORPUS").is_ok_and(|corpus| corpus == "full");
    let named = |file: &&corpus::File| {
        let stem = file.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let ours = file.path.parent().is_some_and(|dir| dir.ends_with("src/test/regress/sql"));
        ours && (full || SAMPLE.contains(&stem))
    };
    let mut chosen: Vec<&corpus::File> = files.iter().filter(named).collect();
    chosen.sort_by_key(|file| !file.path.ends_with("test_setup.sql"));
    let mut found = Vec::new();
    for file in chosen {
        let mut client = connect();
        client.batch_execute("SET statement_timeout = '10s'").unwrap();
        found.extend(faults(&mut client, &file.statements));
    }
    assert!(
        found.is_empty(),
        "{} texts are not the queries that they were made of:\n{}",
        found.len(),
        found.join("\n")
    );
}
