//! Compares the server's parse of a text with and without the scanner hook.

use crate::pg::hooks::scanner;
use pgrx::PgTryBuilder;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::{CString, c_void};

/// Effect of the hook on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the same tree, or the same error.
    None,
    /// The text creates a distributed schema, and the stock server rejects it.
    Clause,
    /// Anything else, which is an error.
    Wrong(String),
}

/// Parses the text twice.
pub fn compare(text: &str) -> Effect {
    let Ok(text) = CString::new(text) else { return Effect::None };
    let stock = scanner::bypassed(|| parse(&text));
    let hooked = parse(&text);
    match (stock, hooked) {
        (Ok(stock), Ok(hooked)) if stock.equals(&hooked) => Effect::None,
        (Ok(_), Ok(_)) => Effect::Wrong("another tree".into()),
        (Err(stock), Err(hooked)) if stock == hooked => Effect::None,
        (Err(_), Ok(hooked)) if hooked.makes_schema() => Effect::Clause,
        // A malformed clause: the position of the server's error moves to the actual mistake.
        (Err(stock), Err(_)) if stock.to_lowercase().contains("near \"distributed\"") => {
            Effect::Clause
        }
        (Err(_), Ok(_)) => Effect::Wrong("understood, but no CREATE SCHEMA".into()),
        (Ok(_), Err(hooked)) => Effect::Wrong(format!("not understood: {hooked}")),
        (Err(stock), Err(hooked)) => Effect::Wrong(format!("\"{hooked}\" instead of \"{stock}\"")),
    }
}

struct Tree(*mut pg_sys::List);

impl Tree {
    fn statements(&self) -> Vec<*mut pg_sys::RawStmt> {
        // SAFETY: the parser returns a list of RawStmt.
        unsafe { crate::pg::tree::list::members(self.0) }
    }

    /// The same statements at the same locations.
    fn equals(&self, other: &Tree) -> bool {
        // SAFETY: both are lists of RawStmt in palloc'd memory.
        unsafe {
            let place = |statement: *mut pg_sys::RawStmt| {
                ((*statement).stmt_location, (*statement).stmt_len)
            };
            pg_sys::equal(self.0.cast::<c_void>(), other.0.cast::<c_void>())
                && self
                    .statements()
                    .into_iter()
                    .map(place)
                    .eq(other.statements().into_iter().map(place))
        }
    }

    fn makes_schema(&self) -> bool {
        // SAFETY: as above.
        let tag = |statement: *mut pg_sys::RawStmt| unsafe { (*(*statement).stmt).type_ };
        self.statements().into_iter().any(|statement| tag(statement) == NodeTag::T_CreateSchemaStmt)
    }
}

fn parse(text: &CString) -> Result<Tree, String> {
    PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
        // SAFETY: the string is NUL-terminated; the parser copies it, and leaves nothing behind when it fails.
        Ok(Tree(unsafe {
            pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT)
        }))
    }))
    .catch_others(|error| match error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
            Err(report.message().to_owned())
        }
        panic @ CaughtError::RustPanic { .. } => panic.rethrow(),
    })
    .execute()
}
