//! Real SQL: the statements of PostgreSQL's regression suites.

use std::fs;
use std::path::{Path, PathBuf};

use helios_core::lex::{Rules, tokens};
use testkit::obtain::Obtained;
use testkit::obtain::source;

/// One file, without psql's meta-commands.
pub struct File {
    /// Its name.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
    /// Its statements without semicolons. Splitting at a wrong place (the semicolons of a rule)
    /// gives texts that are just as good for a comparison.
    pub statements: Vec<String>,
}

/// All files for the version under test; `None`, noted as a skip, if unavailable.
pub fn files() -> Option<Vec<File>> {
    let sources = match source::of(&helios_tests::pg()).unwrap() {
        Obtained::Yes(sources) => sources,
        Obtained::No(reason) => {
            helios_tests::skip(&format!("no sources of PostgreSQL: {reason}"));
            return None;
        }
    };
    let mut paths = Vec::new();
    find(&sources.dir, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| File::new(path, &String::from_utf8_lossy(&fs::read(path).unwrap()));
    Some(paths.iter().map(read).collect())
}

fn find(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            found.push(path);
        }
    }
}

impl File {
    fn new(path: &Path, script: &str) -> Self {
        let text = without_psql(script);
        let statements = split(&text).into_iter().map(str::to_owned).collect();
        Self { path: path.to_owned(), text, statements }
    }
}

/// Removes psql's meta-commands and COPY data.
fn without_psql(script: &str) -> String {
    let mut text = String::new();
    let mut data = false;
    for line in script.lines() {
        if data {
            data = line != "\\.";
        } else if !line.starts_with('\\') && !line.contains('\0') {
            let lower = line.to_ascii_lowercase();
            data = lower.contains("from stdin") && lower.trim_end().ends_with(';');
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn split(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let (mut start, mut depth) = (0, 0_i32);
    let mut statements = Vec::new();
    for token in tokens(bytes, Rules::default()) {
        if token.is_mark(bytes, "(") {
            depth += 1;
        } else if token.is_mark(bytes, ")") {
            depth = (depth - 1).max(0);
        } else if token.is_mark(bytes, ";") && depth == 0 {
            statements.push(&text[start..token.start]);
            start = token.end;
        }
    }
    statements.push(&text[start..]);
    statements.into_iter().map(str::trim).filter(|statement| !statement.is_empty()).collect()
}
