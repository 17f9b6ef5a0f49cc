//! The plan for a node, and the text in it.
//!
//! The client's own text goes as it is. Inside procedural languages the text names variables, which only PostgreSQL can
//! resolve: there the query is deparsed while it is analysed, before it is rewritten (views, rules and row security are the
//! node's business), and remembered until it is planned.

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
use crate::pg::tree::{deparse, enclosing, parser};
use helios_core::embedded_query;
use helios_core::lex::Rules;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Text for a node.
struct Text {
    sql: Vec<u8>,
    /// Characters of the client's text before it; `None` if the text was deparsed.
    offset: Option<i32>,
}

/// Deparsed texts kept in a backend; all are forgotten when there are more.
const REMEMBERED: usize = 65_536;

thread_local! {
    /// A text, or why there is none.
    static DEPARSED: RefCell<HashMap<u64, Result<Vec<u8>>>> = RefCell::new(HashMap::new());
}

/// Deparses a query whose text names variables, to be found again by [`plan`].
pub fn remember(query: QueryTree<'_>, source: &[u8], named_variables: bool) -> Result<()> {
    if !named_variables || query.is_utility() || query.is_trivial() || !catalog::in_use() {
        return Ok(());
    }
    let survey = query.survey::<KnownFunctions>();
    if parser::params_are_numbered(source, &survey.params) {
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

/// The plan of a query that runs on a node.
///
/// Errors: 0A000 if a part of it cannot.
pub(super) fn plan(
    query: QueryTree<'_>,
    source: &[u8],
    survey: Survey<'_>,
    place: OnNode,
) -> Result<Planned> {
    unsupported::check(query, &survey, &place)?;
    let text = match query.source() {
        Source::Statement if place.local_view => expanded(query)?,
        Source::Statement => own_or_deparsed(query, source, &survey)?,
        // The node's own rules run what belongs to the statement.
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
        namespaces: place.namespaces,
    };
    Ok(if nesting::depth() > 0 && evaluate::is_expression(query) {
        Planned::Expression { plan, params: survey.params, function: evaluator()? }
    } else {
        Planned::Remote(plan)
    })
}

/// The function that computes an expression on its node.
fn evaluator() -> Result<Oid> {
    names::function(SCHEMA, "evaluate", &evaluate::SIGNATURE).ok_or_else(|| {
        Error::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
            format!("function {SCHEMA}.evaluate() does not exist"),
        )
        .hint("It is part of extension \"helios\": drop and create the extension again.")
    })
}

/// The client's own text, or the one that was remembered.
fn own_or_deparsed(query: QueryTree<'_>, source: &[u8], survey: &Survey) -> Result<Text> {
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

/// The text of a query after rewriting, with its views expanded: the node does not have those of plain schemas.
///
/// Errors: 0A000 if the rewritten query means something that SQL has no words for.
fn expanded(query: QueryTree<'_>) -> Result<Text> {
    if query.is_beyond_words() {
        return Err(Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot change rows of a distributed table through this view or function",
        )
        .detail("The view is in a plain schema and does not exist on the node, so the node cannot enforce its checks.")
        .hint("Create the view in the distributed schema."));
    }
    Ok(Text { sql: deparse::rewritten_text(query)?, offset: None })
}

/// Byte range of the query's own text in its source.
fn own_text(query: QueryTree<'_>, source: &[u8]) -> Option<(usize, usize)> {
    let (location, length) = match (query.location(), enclosing::of(source)) {
        // A query inside a utility statement has no location of its own.
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

/// Identifies an analysis. The same text can mean other tables under another `search_path` (PostgreSQL analyses a cached plan
/// again when the path has changed), and other parameters in another function: a plan may be made long after the analysis, when
/// another function with the same text has been analysed. Rewriting may repeat parameters, but neither adds nor loses one.
fn key(query: QueryTree<'_>, source: &[u8], params: &[ParamUse]) -> u64 {
    let params: BTreeSet<&ParamUse> = params.iter().collect();
    let mut hasher = DefaultHasher::new();
    params.hash(&mut hasher);
    source.hash(&mut hasher);
    query.location().hash(&mut hasher);
    parser::search_path().hash(&mut hasher);
    hasher.finish()
}
