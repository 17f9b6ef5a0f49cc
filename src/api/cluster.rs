//! The cluster as a whole.

use crate::pg::tree::deparse_check;
use crate::pg::tree::grammar_check::{self, Effect};
use pgrx::prelude::*;

/// Version of the loaded library.
#[pg_extern(sql = false)]
fn helios_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Whether CREATE SCHEMA … DISTRIBUTED is supported, or why not.
#[pg_extern(sql = false)]
fn helios_grammar_state() -> String {
    match crate::pg::hooks::scanner::trouble() {
        None => "on".into(),
        Some(reason) => format!("off: {reason}"),
    }
}

/// Effect of the scanner hook on a text: nothing (NULL), `clause`, or an error.
#[pg_extern(sql = false)]
fn helios_grammar_effect(text: &str) -> Option<String> {
    match grammar_check::compare(text) {
        Effect::None => None,
        Effect::Clause => Some("clause".into()),
        Effect::Wrong(what) => Some(what),
    }
}

/// Checks the text of queries after deparsing; NULL if it is correct.
#[pg_extern(sql = false)]
fn helios_deparse_effect(text: &str) -> Option<String> {
    deparse_check::compare(text)
}
