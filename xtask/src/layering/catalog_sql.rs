//! SQL on the extension's own tables belongs in one room: finds string literals elsewhere that refer to such a table.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::Lit;

use super::room_of;
use super::sources::Sources;
use crate::scripts;

/// The room that may contain it.
const ROOM: &str = "catalog";

/// SQL keywords before a table name; upper-case only, to distinguish SQL from prose.
const KEYWORDS: [&str; 8] =
    ["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "ONLY", "USING", "TRUNCATE"];

/// The tables' schema, with the dot.
const SCHEMA: &str = "helios.";

/// Names of the tables created by the install scripts in this directory.
pub fn tables(install: &Path) -> Result<BTreeSet<String>> {
    let mut tables = BTreeSet::new();
    for script in scripts::in_directory(install)? {
        let text = fs::read_to_string(&script)
            .with_context(|| format!("cannot read {}", script.display()))?;
        let made = text.lines().filter_map(|line| line.strip_prefix("CREATE TABLE helios."));
        tables.extend(made.map(|rest| name_at(rest).to_owned()));
    }
    Ok(tables)
}

/// Returns the literals outside of that room that refer to one of the tables.
pub fn check(sources: &Sources, tables: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for file in sources.files.iter().filter(|file| room_of(&file.name) != ROOM) {
        let mut literals = Vec::new();
        literals_in(file.tokens.clone(), &mut literals);
        for (line, text) in literals {
            let shown = file.name.display();
            found.extend(
                named(&text, tables)
                    .into_iter()
                    .map(|sql| format!("src/{shown}:{line}: \"{sql}\" outside src/{ROOM}")),
            );
        }
    }
    found
}

/// Collects the string literals in these tokens with their lines, except documentation.
fn literals_in(tokens: TokenStream, found: &mut Vec<(usize, String)>) {
    let mut is_attribute = false;
    for token in tokens {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => is_attribute = true,
            // As in `#![…]`.
            TokenTree::Punct(mark) if mark.as_char() == '!' && is_attribute => {}
            TokenTree::Group(group) => {
                if !(is_attribute && is_documentation(&group.stream())) {
                    literals_in(group.stream(), found);
                }
                is_attribute = false;
            }
            TokenTree::Literal(literal) => {
                let line = literal.span().start().line;
                found.extend(text_of(Lit::new(literal)).map(|text| (line, text)));
                is_attribute = false;
            }
            _ => is_attribute = false,
        }
    }
}

fn is_documentation(attribute: &TokenStream) -> bool {
    let first = attribute.clone().into_iter().next();
    matches!(first, Some(TokenTree::Ident(name)) if name == "doc")
}

fn text_of(literal: Lit) -> Option<String> {
    match literal {
        Lit::Str(text) => Some(text.value()),
        Lit::ByteStr(text) => Some(String::from_utf8_lossy(&text.value()).into_owned()),
        Lit::CStr(text) => Some(text.value().to_string_lossy().into_owned()),
        _ => None,
    }
}

/// Finds the places where SQL refers to a table: keyword and name. A name that is inserted by formatting counts, too.
fn named(text: &str, tables: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(SCHEMA) {
        let (before, behind) = (&text[..at], &text[at + SCHEMA.len()..]);
        let head = before.trim_end();
        let keyword = head.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
        let keyword = keyword.filter(|word| head.len() < before.len() && KEYWORDS.contains(word));
        let name = name_at(behind);
        if let Some(keyword) = keyword
            && (tables.contains(name) || behind.starts_with('{'))
        {
            found.push(format!("{keyword} {SCHEMA}{name}"));
        }
    }
    found
}

/// The name at the beginning of a text.
fn name_at(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}
