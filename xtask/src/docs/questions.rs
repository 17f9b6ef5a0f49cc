//! Checks the paths in `docs/internals/questions.md`: each hop must be linked from the previous page, and there are at
//! most three.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use testkit::paths;

/// Maximum number of links to follow to an answer.
const HOPS: usize = 3;

/// Targets of a page's links, as paths relative to the checkout.
fn links(page: &Path, text: &str) -> Vec<PathBuf> {
    let folder = page.parent().unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://"));
    local.map(|target| resolved(&folder.join(target.split('#').next().unwrap()))).collect()
}

/// Resolves `..` in a path without accessing the file system.
fn resolved(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut clean, part| {
        match part {
            Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
        clean
    })
}

/// Paths to the answers: the parts between arrows, before the first explanation.
fn walks(page: &Path, text: &str) -> Vec<(String, Vec<PathBuf>)> {
    let numbered = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    let walk = |line: &str| {
        let mut parts = line.split(" → ");
        let question = parts.next().unwrap().to_owned();
        let first_link = |part: &str| links(page, part).into_iter().next();
        (question, parts.filter_map(first_link).collect())
    };
    text.lines().filter(numbered).map(walk).collect()
}

#[test]
fn every_question_has_a_short_path() {
    let root = paths::workspace();
    let page = Path::new("docs/internals/questions.md");
    let walks = walks(page, &fs::read_to_string(root.join(page)).unwrap());
    assert_eq!(walks.len(), 10, "{walks:?}");
    for (question, walk) in walks {
        assert!((1..=HOPS).contains(&walk.len()), "{question}: {walk:?}");
        let mut from = PathBuf::from("ARCHITECTURE.md");
        for hop in walk {
            assert!(root.join(&hop).exists(), "{question}: {} does not exist", hop.display());
            let text = fs::read_to_string(root.join(&from)).unwrap();
            let linked: HashSet<PathBuf> = links(&from, &text).into_iter().collect();
            let shown = (from.display(), hop.display());
            assert!(linked.contains(&hop), "{question}: {} does not link to {}", shown.0, shown.1);
            from = hop;
        }
    }
}

#[test]
fn links_are_resolved_from_their_page() {
    let text = "[a](../../src/a.rs), [b](b.md#part), [c](https://example.org)";
    let expected = ["src/a.rs", "docs/internals/b.md"].map(PathBuf::from);
    assert_eq!(links(Path::new("docs/internals/x.md"), text), expected);
}
