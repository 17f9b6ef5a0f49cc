//! Compares a query with the result of parsing its deparsed text, which is sent to a node.

use crate::error::{Error, Result};
use crate::pg::session::subtransaction;
use crate::pg::tree::QueryTree;
use crate::pg::tree::deparse;
use pgrx::pg_sys::{self, NodeTag, errcodes::PgSqlErrorCode as Code};
use std::ffi::CString;
use std::ptr;

/// Checks the deparsed text of the statements; None if it is correct, or if the statements themselves are invalid.
pub fn compare(text: &str) -> Option<String> {
    let text = CString::new(text).ok()?;
    let queries = subtransaction::attempt(|| Ok(analyzed(&text))).ok()?;
    queries.into_iter().find_map(|query| wrong_with(query).err().map(|error| error.to_string()))
}

fn wrong_with(query: *mut pg_sys::Query) -> Result<()> {
    // SAFETY: analyzed just now, in memory of the call.
    let Some(tree) = (unsafe { QueryTree::new(query) }) else { return Ok(()) };
    let deparsed = |tree| subtransaction::attempt(|| deparse::query_text(tree));
    let first = match deparsed(tree) {
        // Rejected with an error before anything is sent.
        Err(error) if error.is(Code::ERRCODE_FEATURE_NOT_SUPPORTED) => return Ok(()),
        first => first?,
    };
    let shown = String::from_utf8_lossy(&first).into_owned();
    let again = CString::new(first.clone()).unwrap_or_default();
    let queries = subtransaction::attempt(|| Ok(analyzed(&again)))
        .map_err(|error| error.context(shown.clone()))
        .map_err(|error| other(format!("{error}: {shown}")))?;
    let [query] = queries[..] else { return Err(other(format!("not one query: {shown}"))) };
    // SAFETY: as above.
    let Some(tree) = (unsafe { QueryTree::new(query) }) else { return Ok(()) };
    let second = deparsed(tree)?;
    match first == second {
        true => Ok(()),
        false => Err(other(format!("{shown}\nbecomes {}", String::from_utf8_lossy(&second)))),
    }
}

fn other(what: String) -> Error {
    Error::new(Code::ERRCODE_DATA_EXCEPTION, what)
}

/// The queries among the statements of a text, analyzed with any `search_path` for which the text is valid.
fn analyzed(text: &CString) -> Vec<*mut pg_sys::Query> {
    // SAFETY: the parser returns a list of RawStmt; the text outlives the calls. Errors are raised, and caught by the
    // subtransaction around.
    unsafe {
        let raw = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let mut queries = Vec::new();
        for statement in crate::pg::tree::list::iter::<pg_sys::RawStmt>(raw) {
            let is_query = matches!(
                (*(*statement).stmt).type_,
                NodeTag::T_SelectStmt
                    | NodeTag::T_InsertStmt
                    | NodeTag::T_UpdateStmt
                    | NodeTag::T_DeleteStmt
                    | NodeTag::T_MergeStmt
            );
            if !is_query {
                continue;
            }
            let (mut types, mut count) = (ptr::null_mut(), 0);
            let query = pg_sys::parse_analyze_varparams(
                statement,
                text.as_ptr(),
                &mut types,
                &mut count,
                ptr::null_mut(),
            );
            // SELECT INTO has become a utility statement by now.
            if (*query).commandType != pg_sys::CmdType::CMD_UTILITY {
                queries.push(query);
            }
        }
        queries
    }
}
