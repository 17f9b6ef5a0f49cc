//! Finds dependencies in a manifest that are not mentioned in the package's sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

use super::Package;

/// Where cargo looks for a package's sources, relative to its manifest.
const SOURCES: [&str; 5] = ["src", "tests", "benches", "examples", "build.rs"];

/// Returns the dependencies that the package does not use.
pub(super) fn faults(package: &Package) -> Result<Vec<String>> {
    let folder = package.manifest_path.parent().context("a manifest without a folder")?;
    let mut used = BTreeSet::new();
    for place in SOURCES.map(|place| folder.join(place)) {
        if place.exists() {
            read(&place, &mut used)?;
        }
    }
    let mut faults = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
        if !used.contains(&name.replace('-', "_")) {
            faults.push(format!("{}: dependency {name} is not used", package.name));
        }
    }
    Ok(faults)
}

/// Collects the crate names that a file, or the files in a directory, may refer to.
fn read(place: &Path, used: &mut BTreeSet<String>) -> Result<()> {
    if place.is_dir() {
        for entry in fs::read_dir(place)? {
            // Skip nested packages.
            let path = entry?.path();
            if !path.join("Cargo.toml").exists() {
                read(&path, used)?;
            }
        }
    } else if place.extension().is_some_and(|extension| extension == "rs") {
        let text = fs::read_to_string(place)?;
        let tokens = text.parse().map_err(|error| anyhow!("{}: {error}", place.display()))?;
        roots(tokens, used);
    }
    Ok(())
}

/// Collects the first segments of all paths, and crates imported as a whole. Comments and string literals do not count.
pub(super) fn roots(tokens: TokenStream, used: &mut BTreeSet<String>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let is_colon =
        |tree: Option<&TokenTree>| matches!(tree, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    let is_path = |at: usize| is_colon(trees.get(at)) && is_colon(trees.get(at + 1));
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => roots(group.stream(), used),
            TokenTree::Ident(name) => {
                let before = at.checked_sub(1).and_then(|at| trees.get(at));
                let is_imported = matches!(before, Some(TokenTree::Ident(word)) if word == "use" || word == "crate");
                let is_within = at >= 2 && is_path(at - 2);
                if (is_imported || is_path(at + 1)) && !is_within {
                    used.insert(name.to_string());
                }
            }
            _ => {}
        }
    }
}
