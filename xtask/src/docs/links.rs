//! Checks the links in the documents.
//!
//! Covers links and images to files of the checkout, anchors in pages, paths written as `code`, and that every page
//! of `docs/` is in the table of contents. External addresses are not checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use testkit::paths;

/// Directories whose Markdown files are documents, besides those in the root directory.
const FOLDERS: [&str; 3] = ["docs", "benches", "tests/clients"];

/// First components of paths that are checked where they are written as `code`.
const ROOMS: [&str; 9] =
    ["src", "core", "xtask", "testkit", "tests", "sql", "docs", "benches", "pg_regress"];

/// The book's table of contents.
const CONTENTS: &str = "docs/SUMMARY.md";

/// A link from a page to a place within the checkout.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// The target as written: a path, an anchor, or both.
    pub target: String,
    /// Line number in the page.
    pub range: Range<usize>,
}

/// Contents of a page that matter for links.
#[derive(Debug, Default)]
struct Page {
    links: Vec<Link>,
    /// Paths of the checkout written as `code`, with their line numbers.
    mentioned: Vec<Link>,
    anchors: BTreeSet<String>,
}

/// Fails with a list of all broken links in the checkout's documents.
pub fn check() -> Result<()> {
    let root = paths::workspace();
    let mut pages = BTreeMap::new();
    for path in documents(root)? {
        let text = read(&root.join(&path))?;
        pages.insert(path, text);
    }
    let dead = dead_links(root, &pages);
    if !dead.is_empty() {
        bail!("{}", dead.join("\n"));
    }
    Ok(())
}

/// Paths of the documents, relative to the checkout.
fn documents(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = markdown(root, false)?;
    for folder in FOLDERS {
        found.append(&mut markdown(&root.join(folder), true)?);
    }
    found.iter().map(|path| Ok(path.strip_prefix(root)?.to_owned())).collect()
}

/// The Markdown files in a directory; with subdirectories if `deep`.
fn markdown(folder: &Path, deep: bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && deep {
            found.append(&mut markdown(&path, deep)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Reads a page.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Links of a page to files or anchors in the checkout.
pub fn links(text: &str) -> Vec<Link> {
    survey(text).links
}

/// Returns a message with file and line for each broken link in these pages.
fn dead_links(root: &Path, pages: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let surveys: BTreeMap<&Path, Page> =
        pages.iter().map(|(path, text)| (path.as_path(), survey(text))).collect();
    let mut dead = Vec::new();
    for (path, page) in &surveys {
        let text = pages.get(*path).map_or("", String::as_str);
        let mut report = |link: &Link, what: &str| {
            let line = 1 + text.get(..link.range.start).unwrap_or("").matches('\n').count();
            dead.push(format!("{}:{line}: {}: {what}", path.display(), link.target));
        };
        for link in &page.links {
            let (file, anchor) = split(&link.target);
            let target =
                if file.is_empty() { Some(path.to_path_buf()) } else { resolve(path, file) };
            match target {
                Some(target)
                    if surveys.contains_key(target.as_path()) || root.join(&target).exists() =>
                {
                    let known = surveys.get(target.as_path());
                    let lost = |page: &Page| !anchor.is_empty() && !page.anchors.contains(anchor);
                    if known.is_some_and(lost) {
                        report(link, "no such heading");
                    }
                }
                _ => report(link, "no such file"),
            }
        }
        for link in page.mentioned.iter().filter(|link| !root.join(&link.target).exists()) {
            report(link, "no such file");
        }
    }
    dead.extend(missing_from_contents(&surveys));
    dead
}

/// Pages of the book that are missing from the table of contents.
fn missing_from_contents(surveys: &BTreeMap<&Path, Page>) -> Vec<String> {
    let contents = Path::new(CONTENTS);
    let Some(summary) = surveys.get(contents) else { return Vec::new() };
    let listed: BTreeSet<PathBuf> =
        summary.links.iter().filter_map(|link| resolve(contents, split(&link.target).0)).collect();
    let missing = |path: &&&Path| {
        path.starts_with("docs") && **path != contents && !listed.contains(&path.to_path_buf())
    };
    let report = |path: &&Path| format!("{}: not in {CONTENTS}", path.display());
    surveys.keys().filter(missing).map(report).collect()
}

/// Splits a link into file and anchor.
pub fn split(target: &str) -> (&str, &str) {
    target.split_once('#').unwrap_or((target, ""))
}

/// The path in the checkout that a link in a page refers to; `None` if it is outside of the checkout.
pub fn resolve(page: &Path, file: &str) -> Option<PathBuf> {
    let mut path = page.parent().unwrap_or(Path::new("")).to_owned();
    for component in Path::new(file).components() {
        match component {
            Component::ParentDir => path.pop().then_some(())?,
            Component::CurDir => {}
            Component::Normal(name) => path.push(name),
            _ => return None,
        }
    }
    Some(path)
}

fn survey(text: &str) -> Page {
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. })
                if !is_elsewhere(&dest_url) =>
            {
                page.links.push(Link { target: dest_url.into_string(), range });
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                if let Some(title) = heading.take() {
                    add_anchor(&mut page.anchors, &anchor(&title));
                }
            }
            Event::Text(words) => {
                if let Some(title) = &mut heading {
                    title.push_str(&words);
                }
            }
            Event::Code(code) => {
                if let Some(title) = &mut heading {
                    title.push_str(&code);
                }
                if is_path(&code) {
                    page.mentioned.push(Link { target: code.into_string(), range });
                }
            }
            _ => {}
        }
    }
    page
}

fn is_elsewhere(target: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

/// Whether a code span is a path of the checkout without placeholders.
fn is_path(code: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    code.split_once('/').is_some_and(|(room, _)| ROOMS.contains(&room)) && code.chars().all(plain)
}

/// The anchor of a heading, as generated by forges and mdBook.
fn anchor(title: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    title.to_lowercase().chars().filter_map(kept).collect()
}

/// Adds an anchor; repeated headings get numbers.
fn add_anchor(anchors: &mut BTreeSet<String>, anchor: &str) {
    let mut name = anchor.to_owned();
    let mut number = 0;
    while !anchors.insert(name) {
        number += 1;
        name = format!("{anchor}-{number}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn dead(pages: &[(&str, &str)]) -> Vec<String> {
        let pages = pages.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect();
        dead_links(paths::workspace(), &pages)
    }

    #[test]
    fn links_lead_to_files_and_headings() {
        let good = "# A `b` C\n\n[self](#a-b-c) [again](#a-b-c-1) [up](../README.md#helios) ![p](../Cargo.toml)\n\
                    `xtask/src/docs/links.rs` `src/*.rs` [x](https://example.org/none)\n\n## A b, c!\n";
        assert_eq!(dead(&[("docs/x.md", good), ("README.md", "# Helios\n")]), [""; 0]);
    }

    #[test]
    fn dead_ones_are_named_with_their_lines() {
        let bad = "# A\n\n[1](none.md)\n[2](#b)\n`src/none.rs`\n[3](../README.md#gone)\n[4](../../out.md)\n";
        let found = dead(&[("docs/x.md", bad), ("README.md", "# Helios\n")]);
        assert_eq!(found.len(), 5, "{found:?}");
        for (line, what) in [(3, "file"), (4, "heading"), (5, "file"), (6, "heading"), (7, "file")]
        {
            let said = |one: &String| {
                one.starts_with(&format!("docs/x.md:{line}:")) && one.ends_with(what)
            };
            assert!(found.iter().any(said), "line {line}: {found:?}");
        }
    }

    #[test]
    fn a_page_that_the_contents_lack_is_named() {
        let found =
            dead(&[("docs/SUMMARY.md", "- [a](book.toml)\n"), ("docs/lost.md", "# Lost\n")]);
        assert_eq!(found, ["docs/lost.md: not in docs/SUMMARY.md"]);
    }
}
