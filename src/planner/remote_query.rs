//! The plan for a node and the text in it.
//!
//! The client's own text is sent unchanged. Inside procedural languages the text names variables, which only PostgreSQL
//! can resolve: there the query is deparsed after parse analysis, before it is rewritten (views, rules and row-level
//! security are applied by the node), and remembered until it is planned.

use super::relations::OnNode;
use super::unsupported;
use crate::catalog;
use crate::catalog::own_objects::SCHEMA;
use crate::error::{Error, Result};
use crate::executor::function_rules::KnownFunctions;
use crate::pg::catalog::names;
use crate::pg::exec::remote_plan::RemotePlan;
use crate::pg::exec::{evaluate, nesting};
use crate::pg::hooks::planner::Planned;
use crate::pg::tree::{ParamUse, QueryTree, Source, Survey};
use crate::pg::tree::{current_of, deparse, enclosing, parser};
use helios_core::embedded_query;
use helios_core::lex::Rules;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Text for a node.
struct Text {
    sql: Vec<u8>,
    /// Number of characters that precede it in the client's text; `None` if it was deparsed.
    offset: Option<i32>,
}

/// Number of deparsed texts kept in a backend; all are discarded when there are more.
const REMEMBERED: usize = 65_536;

thread_local! {
    /// The text, or the error that prevents deparsing.
    static DEPARSED: RefCell<HashMap<u64, Result<Vec<u8>>>> = RefCell::new(HashMap::new());
}

/// Deparses a query whose text names variables, for later use by [`plan`].
pub fn remember(query: QueryTree<'_>, source: &[u8], named_variables: bool) -> Result<()> {
    if !named_variables || query.is_utility() || query.is_trivial() || !catalog::in_use() {
        return Ok(());
    }
    let survey = query.survey::<KnownFunctions>();
    // The name of a cursor is another one on the node, so that text is made when the query is planned.
    if parser::params_are_numbered(source, &survey.params) || !survey.cursors.is_empty() {
        return Ok(());
    }
    let sql = deparse::query_text(query);
    DEPARSED.with_borrow_mut(|texts| {
        if texts.len() >= REMEMBERED {
            texts.clear();
        }
        texts.insert(key(query, source, &survey.params), sql);
    });
    Ok(())
}

/// Creates the plan of a query that runs on a node.
///
/// Errors: 0A000 if a part of it cannot run there.
pub(super) fn plan(
    query: QueryTree<'_>,
    source: &[u8],
    survey: Survey<'_>,
    place: OnNode,
) -> Result<Planned<'static>> {
    let text = match query.source() {
        Source::Statement if place.local_view && survey.cursors.is_empty() => expanded(query)?,
        Source::Statement => own_or_deparsed(query, source, &survey)?,
        // The node applies its own rewrite rules; send nothing extra.
        Source::AlsoRule => Text { sql: Vec::new(), offset: None },
        Source::InsteadRule => {
            return Err(unsupported::unsupported(
                "rules with several INSTEAD actions are not supported in a distributed schema",
            )
            .hint("Use an INSTEAD OF trigger."));
        }
    };
    let volatile = survey.calls_volatile_function();
    let plan = RemotePlan {
        sql: text.sql,
        offset: text.offset,
        params: survey.params.iter().map(|p| p.id).max().unwrap_or(0),
        writes: query.writes() || survey.data_arguments.iter().any(|r| r.write) || volatile,
        unsettles: volatile,
        cursor: survey.cursors.first().cloned(),
        namespaces: place.namespaces,
        sources: Vec::new(),
        copy: Vec::new(),
    };
    Ok(if nesting::depth() > 0 && evaluate::is_expression(query) {
        Planned::Expression { plan, params: survey.params, function: evaluator()? }
    } else {
        Planned::Remote(plan)
    })
}

/// The function that evaluates an expression on its node.
fn evaluator() -> Result<Oid> {
    names::function(SCHEMA, "evaluate", &evaluate::SIGNATURE).ok_or_else(|| {
        Error::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
            format!("function {SCHEMA}.evaluate() does not exist"),
        )
        .hint(
            "Create the function again as in the extension's script, and run ALTER EXTENSION helios ADD FUNCTION.",
        )
    })
}

/// The client's own text, or the remembered deparsed one.
fn own_or_deparsed(query: QueryTree<'_>, source: &[u8], survey: &Survey) -> Result<Text> {
    if !survey.cursors.is_empty() {
        current_of::hide_names(query);
        return expanded(query);
    }
    if parser::params_are_numbered(source, &survey.params)
        && let Some((start, end)) = own_text(query, source)
    {
        let before = String::from_utf8_lossy(&source[..start]).chars().count();
        let offset = i32::try_from(before).ok();
        return Ok(Text { sql: source[start..end].to_vec(), offset });
    }
    let known =
        DEPARSED.with_borrow(|texts| texts.get(&key(query, source, &survey.params)).cloned());
    let sql = match known {
        Some(sql) => sql?,
        None => return expanded(query),
    };
    Ok(Text { sql, offset: None })
}

/// Deparses a query after rewriting, with views expanded, because views in plain schemas do not exist on the node.
///
/// Errors: 0A000 if the rewritten query cannot be expressed in SQL.
fn expanded(query: QueryTree<'_>) -> Result<Text> {
    if !query.means_its_text() {
        let (verb, reason) = if query.writes() {
            ("change", "so the node cannot enforce its checks")
        } else {
            ("read", "which would choose rows by its policies for the current user")
        };
        return Err(Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot {verb} rows of a distributed table through this view or function"),
        )
        .detail(format!("The view is in a plain schema and does not exist on the node, {reason}."))
        .hint("Create the view in the distributed schema."));
    }
    Ok(Text { sql: deparse::rewritten_text(query)?, offset: None })
}

/// Byte range of the query's own text in its source.
fn own_text(query: QueryTree<'_>, source: &[u8]) -> Option<(usize, usize)> {
    let (location, length) = match (query.location(), enclosing::of(source)) {
        // A query inside a utility statement does not have a location.
        ((0 | -1, 0), Some(statement)) => (statement.location, statement.length),
        (own, _) => own,
    };
    let start = usize::try_from(location).unwrap_or(0).min(source.len());
    let end = match usize::try_from(length) {
        Ok(length) if length > 0 => (start + length).min(source.len()),
        _ => source.len(),
    };
    let rules = Rules { standard_conforming_strings: parser::standard_conforming_strings() };
    let range = embedded_query::range(&source[start..end], rules)?;
    Some((start + range.start, start + range.end))
}

/// Identifies a parse analysis. The same text can refer to other tables with another `search_path` (PostgreSQL repeats
/// the analysis of a cached plan when the path has changed), and to other parameters in another function; a plan may be
/// created long after the analysis, when another function with the same text has been analyzed. Rewriting may duplicate
/// parameters, but neither adds nor loses one.
fn key(query: QueryTree<'_>, source: &[u8], params: &[ParamUse]) -> u64 {
    let params: BTreeSet<&ParamUse> = params.iter().collect();
    let mut hasher = DefaultHasher::new();
    params.hash(&mut hasher);
    source.hash(&mut hasher);
    query.location().hash(&mut hasher);
    parser::search_path().hash(&mut hasher);
    hasher.finish()
}
