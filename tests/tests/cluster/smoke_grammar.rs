//! The clause is recognized on every way into the server, and nowhere else: a statement that does not create a
//! distributed schema is parsed exactly as without Helios.

use std::fs;
use std::path::{Path, PathBuf};

use helios_tests::{Cluster, pg, skip};
use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage};
use testkit::obtain::{Obtained, source};

fn sql_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sql_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "sql") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Pieces of a file: statements, and sequences of them, as the scanner may receive them. psql meta-commands are kept: they
/// are errors, which must be the same, too.
fn pieces(text: &str) -> Vec<String> {
    let statements: Vec<&str> = text.split_inclusive(";\n").collect();
    let mut pieces: Vec<String> = statements.iter().map(|s| (*s).to_owned()).collect();
    pieces.extend(statements.chunks(7).map(|chunk| chunk.concat()));
    pieces
}

/// Pieces with words of the clause in wrong places.
fn mutations(piece: &str, seed: usize) -> Vec<String> {
    const WORDS: [&str; 8] = [
        " DISTRIBUTED ",
        " create schema ",
        "create/**/schema x distributed",
        " \"create\" schema ",
        " CREATE SCHEMA distributed ",
        "'CREATE SCHEMA x DISTRIBUTED'",
        "--create schema x distributed\n",
        " on node n with (a = 1) ",
    ];
    let cuts: Vec<usize> = piece.char_indices().map(|(at, _)| at).collect();
    if cuts.len() > 3000 || cuts.is_empty() {
        return Vec::new();
    }
    let word = WORDS[seed % WORDS.len()];
    let at = cuts[seed.wrapping_mul(2_654_435_761) % cuts.len()];
    vec![format!("{}{word}{}", &piece[..at], &piece[at..])]
}

fn wrong(client: &mut Client, pieces: &[String]) -> Vec<(String, String)> {
    let query = "SELECT t, helios.grammar_effect(t) FROM unnest($1::text[]) AS t
                  WHERE helios.grammar_effect(t) IS NOT NULL";
    let rows = client.query(query, &[&pieces]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Returns the number of pieces compared, and of changed pieces that happen to contain the clause.
fn check_corpus(client: &mut Client, dir: &Path) -> (usize, usize) {
    let (mut checked, mut clauses) = (0, 0);
    for file in sql_files(dir) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let pieces = pieces(&text);
        // The project's own suite creates distributed schemas: there the clause is expected.
        let ours = text.to_lowercase().contains("distributed");
        for (piece, effect) in wrong(client, &pieces) {
            assert!(ours && effect == "clause", "{effect} in {}:\n{piece}", file.display());
        }
        let mutated: Vec<String> =
            pieces.iter().enumerate().flat_map(|(i, piece)| mutations(piece, i)).collect();
        for (piece, effect) in wrong(client, &mutated) {
            assert_eq!(effect, "clause", "in a changed piece of {}:\n{piece}", file.display());
            clauses += 1;
        }
        checked += pieces.len() + mutated.len();
    }
    (checked, clauses)
}

#[test]
fn other_statements_parse_as_without_helios() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client.batch_execute("SET client_min_messages = error").unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (dir, least) in [("pg_regress", 300), ("sql", 30), ("tests/differential", 30)] {
        let (checked, _) = check_corpus(&mut client, &workspace.join(dir));
        assert!(checked > least, "{checked} pieces of {dir} are no corpus");
    }
    match source::of(&pg()).unwrap() {
        Obtained::Yes(sources) => {
            let dir = sources.dir.join("src/test/regress/sql");
            let (checked, clauses) = check_corpus(&mut client, &dir);
            assert!(checked > 50_000, "{checked} pieces are not PostgreSQL's regression tests");
            assert!(clauses > 100, "only {clauses} changed pieces held a clause");
        }
        Obtained::No(reason) => skip(&format!("PostgreSQL's own regression tests: {reason}")),
    }
}

#[test]
fn clause_works_in_both_protocols_and_where_pages_end() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client.execute("CREATE SCHEMA extended DISTRIBUTED", &[]).unwrap();
    let prepared = client.prepare("CREATE SCHEMA prepared_one DISTRIBUTED").unwrap();
    client.execute(&prepared, &[]).unwrap();
    // The words at every distance from the end of a page, and in texts of many sizes.
    for room in (0..4200).step_by(37) {
        let comment = " ".repeat(room);
        for gap in [" ", "/* c */", "-- c\n"] {
            let text = format!(
                "SELECT 1;{comment}CREATE{gap}SCHEMA{gap}\"page {room}\" DISTRIBUTED; ROLLBACK"
            );
            client.simple_query("BEGIN").unwrap();
            client.simple_query(&text).unwrap_or_else(|e| panic!("{e} in {text:?}"));
        }
    }
    let count =
        client.simple_query("SELECT count(*) FROM helios.schema WHERE name LIKE 'page%'").unwrap();
    let rows = count.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    assert_eq!(rows, Some("0"));
}

#[test]
fn without_the_grammar_functions_do_the_same() {
    let cluster = Cluster::with_settings(0, &["helios.grammar = off"]);
    let mut client = cluster.connect();
    let error = client.batch_execute("CREATE SCHEMA x DISTRIBUTED").unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR), "{error}");
    client
        .batch_execute(
            "SELECT helios_create_schema('a'); SET helios.distribute_new_schemas = on; CREATE SCHEMA b;
             RESET helios.distribute_new_schemas; CREATE SCHEMA c; SELECT helios_distribute_schema('c');
             CREATE SCHEMA d; SECURITY LABEL FOR helios ON SCHEMA d IS 'distributed'",
        )
        .unwrap();
    let schemas = "SELECT string_agg(schema::text, ' ' ORDER BY schema) FROM helios_schemas";
    assert_eq!(client.query_one(schemas, &[]).unwrap().get::<_, String>(0), "a b c d");
    let state = client.query_one("SELECT grammar FROM helios_cluster_info()", &[]).unwrap();
    assert_eq!(state.get::<_, String>(0), "off: helios.grammar is off");
}

#[test]
fn clause_without_the_extension_names_the_remedy() {
    let cluster = Cluster::start(0);
    let mut client = cluster.coordinator().connect("postgres").unwrap();
    let error = client.batch_execute("SELECT 1; CREATE SCHEMA x DISTRIBUTED").unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(error.hint().unwrap_or_default().contains("CREATE EXTENSION helios"), "{error:?}");
    let position = error.position().map(|position| format!("{position:?}")).unwrap_or_default();
    assert_eq!(position, "Original(27)");
}
