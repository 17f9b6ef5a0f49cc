//! The statements in README.md and docs/ run as they stand there, block after block, on a new cluster with two nodes.
//!
//! A block whose fence says `sql example` instead of `sql` is only shown: it names servers that a test does not have.

use std::path::{Path, PathBuf};

use helios_tests::Cluster;

/// SQL statements of a page, with the lines that they begin on.
fn statements(page: &str) -> Vec<(usize, String)> {
    let (mut found, mut inside) = (Vec::new(), false);
    let mut statement = String::new();
    for (number, line) in (1..).zip(page.lines()) {
        let fence = line.trim();
        if fence.starts_with("```") {
            assert!(statement.trim().is_empty(), "line {number}: the last statement has no end");
            inside = fence == "```sql";
            continue;
        }
        if !inside {
            continue;
        }
        let code = line.split("--").next().unwrap_or_default().trim_end();
        statement.push_str(code);
        statement.push('\n');
        if code.ends_with(';') {
            found.push((number, std::mem::take(&mut statement)));
        }
    }
    found
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut pages = vec![root.join("README.md")];
    let mut docs: Vec<PathBuf> = std::fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    docs.sort();
    pages.append(&mut docs);
    pages
}

#[test]
fn every_statement_in_the_documents_runs() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let statements = statements(&text);
        assert!(!statements.is_empty(), "{} has no SQL", page.display());
        let cluster = Cluster::start(2);
        let mut client = cluster.connect();
        for (line, statement) in statements {
            client.simple_query(&statement).unwrap_or_else(|error| {
                panic!("{}, line {line}: {statement}: {error:?}", page.display())
            });
        }
    }
}
