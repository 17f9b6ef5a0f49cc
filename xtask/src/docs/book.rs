//! Builds a web book from the pages in `docs/` with mdBook.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::links;
use testkit::command;
use testkit::paths;

/// Version to install if mdBook is missing.
const VERSION: &str = "0.5.4";

/// Directory in the book for files of the checkout that pages link to.
const FILES: &str = "files";

/// Builds the book; returns the path of its first page.
pub fn build() -> Result<PathBuf> {
    links::check()?;
    let mdbook = program()?;
    let source = paths::target().join("book-source");
    let book = paths::target().join("book");
    for old in [&source, &book] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    copy(Path::new("docs"), &source)?;
    command::output(Command::new(mdbook).arg("build").arg(&source).arg("--dest-dir").arg(&book))?;
    check_pages(&book)?;
    Ok(book.join("index.html"))
}

/// Finds mdBook, or installs it.
fn program() -> Result<PathBuf> {
    let name = format!("mdbook-{VERSION}");
    let installed = paths::caches().into_iter().map(|cache| cache.join(&name).join("bin/mdbook"));
    if let Some(found) = installed.into_iter().find(|program| program.exists()) {
        return Ok(found);
    }
    if command::capture(Command::new("mdbook").arg("--version")).is_ok() {
        return Ok("mdbook".into());
    }
    println!("installing mdBook {VERSION} (takes a few minutes)");
    let root = paths::cache().join(name);
    let mut cargo = command::cargo();
    cargo.args(["install", "mdbook", "--locked", "--version", VERSION]);
    cargo.args(["--no-default-features", "--features", "search", "--root"]).arg(&root);
    command::show(&mut cargo)?;
    Ok(root.join("bin/mdbook"))
}

/// Copies a directory of the book; files outside of `docs/` that pages link to are copied into the book.
fn copy(folder: &Path, to: &Path) -> Result<()> {
    let root = paths::workspace();
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(root.join(folder))? {
        let name = entry?.file_name();
        let (from, target) = (folder.join(&name), to.join(&name));
        if root.join(&from).is_dir() {
            copy(&from, &target)?;
        } else if from.extension().is_some_and(|extension| extension == "md") {
            let text = links::read(&root.join(&from))?;
            fs::write(&target, bring_in(&from, &text)?)?;
        } else {
            fs::copy(root.join(&from), &target)?;
        }
    }
    Ok(())
}

/// Rewrites the links of a page for the book: README.md becomes index.html, and files outside of `docs/` are
/// copied into the book.
fn bring_in(page: &Path, text: &str) -> Result<String> {
    let mut text = text.to_owned();
    for link in links::links(&text).into_iter().rev() {
        let (file, _) = links::split(&link.target);
        let Some(path) = links::resolve(page, file) else { continue };
        let there = if !path.starts_with("docs") {
            bring_file(page, &path)?
        } else if path.ends_with("README.md") && page.ends_with("SUMMARY.md") {
            continue;
        } else {
            file.replace("README.md", "index.html")
        };
        let shown = text.get(link.range.clone()).unwrap_or("").to_owned();
        if let Some(at) = shown.rfind(&link.target).filter(|_| !file.is_empty()) {
            let start = link.range.start + at;
            text.replace_range(start..start + file.len(), &there);
        }
    }
    Ok(text)
}

/// Copies a file of the checkout into the book; returns its path relative to the page.
fn bring_file(page: &Path, outside: &Path) -> Result<String> {
    // mdBook would treat `page.md.txt` as a page.
    let name = outside.display().to_string();
    let name = format!("{}.txt", name.strip_suffix(".md").unwrap_or(&name));
    let shown = Path::new(FILES).join(name);
    copy_text(outside, &paths::target().join("book-source").join(&shown))?;
    Ok(format!("{}{}", "../".repeat(page.components().count() - 2), shown.display()))
}

/// Copies a file as text; for a directory, writes the list of its entries.
fn copy_text(outside: &Path, to: &Path) -> Result<()> {
    let from = paths::workspace().join(outside);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if from.is_dir() {
        let mut names = Vec::new();
        for entry in fs::read_dir(&from)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        fs::write(to, names.join("\n") + "\n")?;
    } else {
        fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// Checks that every relative link in the generated pages leads to a file of the book.
fn check_pages(book: &Path) -> Result<()> {
    let mut dead = Vec::new();
    for path in pages(book)? {
        let text = fs::read_to_string(&path)?;
        for target in text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let (file, _) = links::split(target);
            if file.is_empty() || file.contains(':') || file.starts_with("&") {
                continue;
            }
            let base = path.parent().unwrap_or(book);
            if !base.join(file).exists() {
                dead.push(format!("{}: {target}", path.display()));
            }
        }
    }
    if !dead.is_empty() {
        bail!("broken links in the book:\n{}", dead.join("\n"));
    }
    Ok(())
}

fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.append(&mut pages(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "html") {
            // Skip mdBook's page for missing addresses and the one for printing: their links belong to other pages.
            let name = path.file_name().unwrap_or_default();
            if name != "404.html" && name != "print.html" && name != "toc.html" {
                found.push(path);
            }
        }
    }
    Ok(found)
}
