//! Runs every example in README.md and docs/ as written, and compares the output with what the page shows.
//!
//! The blocks of a page run in order, on a new cluster with two nodes: SQL in one `psql` session, shell commands that are
//! marked for it in a directory for the page. CONTRIBUTING.md describes how to write a page; `UPDATE_EXPECT=1` (or
//! `cargo xtask docs bless`) writes the output into the pages instead of comparing it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod output;
mod page;
mod run;
mod session;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Path of the checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The Markdown files in a directory; with subdirectories if `deep`.
fn markdown(directory: &Path, deep: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && deep {
            found.append(&mut markdown(&path, deep));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Runs the pages, two at a time, and fails with all differences.
fn check(pages: &[PathBuf]) {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(path) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = run::page(path);
            outcomes.lock().unwrap().push(outcome);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let outcomes = outcomes.into_inner().unwrap();
    let problems: Vec<String> = outcomes.iter().flat_map(|one| one.problems.clone()).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(outcomes.iter().any(|one| one.examples > 0), "no example in {pages:?}");
}

#[test]
fn examples_of_the_readme() {
    check(&[root().join("README.md")]);
}

#[test]
fn examples_of_the_guide() {
    check(&markdown(&root().join("docs/guide"), true));
}

#[test]
fn examples_of_operations() {
    check(&markdown(&root().join("docs/operations"), true));
}

/// Pages without a separate test in this program.
#[test]
fn examples_of_all_other_pages() {
    let others = |path: &PathBuf| {
        !["README.md", "docs/guide", "docs/operations"]
            .iter()
            .any(|tested| path.starts_with(root().join(tested)))
    };
    let mut pages = markdown(root(), false);
    pages.append(&mut markdown(&root().join("docs"), true));
    check(&pages.into_iter().filter(others).collect::<Vec<_>>());
}
