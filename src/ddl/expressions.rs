//! Expressions in utility commands, which are evaluated here without a query that could be routed: they may refer to a
//! sequence on a node.

use crate::catalog;
use crate::error::{Error, Result};
use crate::executor;
use crate::executor::function_rules::KnownFunctions;
use crate::pg::catalog::names;
use crate::pg::hooks::utility::Step;
use crate::pg::session::sql;
use crate::pg::tree::statement::Statement;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Functions that read or change the sequence named by their first argument.
const OF_SEQUENCES: [&str; 3] = ["nextval", "currval", "setval"];

/// EXECUTE, also in EXPLAIN and CREATE TABLE AS, and CALL, with arguments that must be evaluated on nodes.
pub(super) fn route_arguments(statement: &Statement) -> Result<Step> {
    if !statement.has_arguments() || !catalog::in_use() {
        return Ok(Step::pass(*statement));
    }
    let last = statement.argument_calls().iter().any(|call| call.name == "lastval");
    if last
        && let Some(namespace) = executor::last_written()
        && catalog::placement(namespace)?.is_some()
    {
        return Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot use lastval() as an argument of EXECUTE after nextval() was called on a node",
        )
        .hint("Call it in a separate statement: SELECT lastval()."));
    }
    let may_move = |relation: Oid| match names::relation_namespace(relation) {
        Some(namespace) => Ok(catalog::any_placement(namespace)?.is_some()),
        None => Ok(false),
    };
    let routed = statement.with_redirected_arguments::<KnownFunctions>(may_move)?;
    Ok(Step::pass(routed.unwrap_or(*statement)))
}

/// 0A000 if ALTER TABLE of a local table would have to call a node's sequence for each row.
pub(super) fn check_rewrite(statement: &Statement) -> Result<()> {
    for call in statement.rewriting_calls() {
        if !OF_SEQUENCES.contains(&call.name.as_str()) {
            continue;
        }
        let what = match call.first_text() {
            None => "a sequence with a computed name, which may be on a node".to_owned(),
            Some(name) => {
                let find = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid";
                match sql::in_session_path::<Oid>(find, &[name.as_str().into()])? {
                    Some(sequence) if is_remote(sequence)? => {
                        format!(
                            "sequence {}, which is on a node",
                            names::displayed_relation_name(sequence)
                        )
                    }
                    _ => continue,
                }
            }
        };
        return Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot compute a table's rows from {what}"),
        )
        .detail("ALTER TABLE computes the rows on this server without contacting a node.")
        .hint("Alter the table without the expression and then update its rows, or use a sequence in a plain schema."));
    }
    Ok(())
}

fn is_remote(relation: Oid) -> Result<bool> {
    match names::relation_namespace(relation) {
        Some(namespace) => Ok(catalog::placement(namespace)?.is_some()),
        None => Ok(false),
    }
}
