//! The pages of `docs/reference/`: every function, view, catalog, setting and SQLSTATE, as a server with the extension and the sources
//! tell of them.
//!
//! Start reading at `pages`: each page is a pure function of what a server answers. [`write()`] puts the pages into the checkout,
//! [`check`] compares them with what is there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use postgres::Client;

use super::page::Page;
use super::{catalog_pages, settings_page, sqlstates_page};
use testkit::cluster::DATABASE;
use testkit::paths;
use testkit::postgres::Postgres;
use testkit::scratch::Scratch;

/// The last line of every page.
const FOOTER: &str = "\n---\n\nMade by `cargo xtask docs reference`; do not edit. Comments in \
    [sql/install](../../sql/install) and descriptions in [src/settings](../../src/settings) are the source.\n";

/// Rewrites the pages of the checkout.
pub fn write(pg: &Postgres) -> Result<()> {
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for page in made(pg)? {
        let path = directory.join(page.name);
        fs::write(&path, page.text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Fails if the pages of the checkout are not those that [`write()`] would make, or if there are others.
pub fn check(pg: &Postgres) -> Result<()> {
    let faults = faults(&directory(), &made(pg)?)?;
    if !faults.is_empty() {
        bail!("{}\nrun: cargo xtask docs reference", faults.join("\n"));
    }
    Ok(())
}

fn directory() -> PathBuf {
    paths::workspace().join("docs/reference")
}

/// Starts a server, asks it, and stops it.
fn made(pg: &Postgres) -> Result<Vec<Page>> {
    let scratch = Scratch::new(1)?;
    let cluster = scratch.cluster(pg, 0, &[])?;
    let mut client = cluster.coordinator().connect(DATABASE)?;
    pages(&mut client, pg)
}

/// All pages, from a server's answers and from the sources.
fn pages(client: &mut Client, pg: &Postgres) -> Result<Vec<Page>> {
    let mut pages = vec![
        catalog_pages::functions(client)?,
        catalog_pages::views(client)?,
        catalog_pages::catalogs(client)?,
        catalog_pages::internal_functions(client)?,
        settings_page::settings(client)?,
        sqlstates_page::sqlstates(pg)?,
    ];
    for page in &mut pages {
        page.text.push_str(FOOTER);
    }
    Ok(pages)
}

/// What is different between a directory and the pages that it should hold.
fn faults(directory: &Path, pages: &[Page]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for page in pages {
        let path = directory.join(page.name);
        match fs::read_to_string(&path) {
            Ok(text) if text == page.text => {}
            Ok(text) => faults.push(format!(
                "{} lags behind: {}",
                path.display(),
                difference(&text, &page.text)
            )),
            Err(_) => faults.push(format!("{} is missing", path.display())),
        }
    }
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let name = entry?.file_name();
        if !pages.iter().any(|page| *page.name == *name) {
            faults.push(format!("{} is made by nobody", directory.join(name).display()));
        }
    }
    Ok(faults)
}

/// The first line in which two texts differ.
fn difference(old: &str, new: &str) -> String {
    let (mut old, mut new) = (old.lines(), new.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => {
                let shown = |line: Option<&str>| line.unwrap_or("(end)").to_owned();
                return format!(
                    "line {number} is\n  {}\nand should be\n  {}",
                    shown(old),
                    shown(new)
                );
            }
        }
    }
    "line ends".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lagging_missing_and_foreign_pages_are_faults() {
        let directory = tempfile::tempdir().unwrap();
        let page = |name, text: &str| Page { name, text: text.to_owned() };
        fs::write(directory.path().join("a.md"), "one\ntwo\n").unwrap();
        fs::write(directory.path().join("c.md"), "").unwrap();
        let pages = [page("a.md", "one\n2\n"), page("b.md", "")];
        let faults = faults(directory.path(), &pages).unwrap().join("\n");
        for fault in ["a.md lags behind: line 2 is\n  two\nand should be\n  2", "b.md is missing"] {
            assert!(faults.contains(fault), "{faults}");
        }
        assert!(faults.contains("c.md is made by nobody"), "{faults}");
        let same = [page("a.md", "one\ntwo\n"), page("c.md", "")];
        assert_eq!(super::faults(directory.path(), &same).unwrap(), Vec::<String>::new());
    }
}
