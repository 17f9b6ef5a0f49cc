//! The cluster as a whole.

use crate::pg::tree::deparse_check;
use crate::pg::tree::grammar_check::{self, Effect};
use pgrx::prelude::*;

/// Version of the library that is loaded.
#[pg_extern(sql = false)]
fn helios_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Whether CREATE SCHEMA … DISTRIBUTED is understood, or why not.
#[pg_extern(sql = false)]
fn helios_grammar_state() -> String {
    match crate::pg::hooks::scanner::trouble() {
        None => "on".into(),
        Some(reason) => format!("off: {reason}"),
    }
}

/// What the scanner hook does to a text: nothing (NULL), `clause`, or what went wrong.
#[pg_extern(sql = false)]
fn helios_grammar_effect(text: &str) -> Option<String> {
    match grammar_check::compare(text) {
        Effect::None => None,
        Effect::Clause => Some("clause".into()),
        Effect::Wrong(what) => Some(what),
    }
}

/// What is wrong with the text that queries have after they are deparsed; NULL if nothing is.
#[pg_extern(sql = false)]
fn helios_deparse_effect(text: &str) -> Option<String> {
    deparse_check::compare(text)
}
