//! Decides where a query runs: collects what it touches as plain data, and asks the router.

use super::facts::{Facts, gather, node_name};
use super::parts::{self, is_redirected};
use super::relations::OnNode;
use super::{catalogs, remote_query, several_places, unsupported};
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::executor::absent;
use crate::executor::function_rules::KnownFunctions;
use crate::pg::hooks::planner::Planned;
use crate::pg::tree::QueryTree;
use helios_core::route::{self, Route};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// Surveys a query and decides; for a remote query, returns its plan.
pub(super) fn decide<'a>(query: QueryTree<'a>, source: &[u8]) -> Result<Planned<'a>> {
    let survey = query.survey::<KnownFunctions>();
    let facts = gather(&survey)?;
    match route::route(&facts.touched, &node_name) {
        Route::Here => {
            survey.redirect::<KnownFunctions>(is_redirected)?;
            Ok(Planned::Here)
        }
        Route::Parts => parts::plan(query, Vec::new(), false),
        Route::Refused(reason) => {
            if let Some(plan) = several_places::plan(query, &survey, &facts.touched)? {
                return Ok(plan);
            }
            Err(Error::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, reason.message)
                .detail(reason.detail)
                .hint(reason.hint))
        }
        Route::Node { .. } if facts.catalogs && catalogs::suffice(&survey, &facts.namespaces)? => {
            survey.redirect::<KnownFunctions>(is_redirected)?;
            Ok(Planned::Here)
        }
        // A function that uses what its node does not have runs here.
        Route::Node { node, .. }
            if !survey.functions.is_empty()
                && route::may_run_in_parts(&facts.touched)
                && absent::any_needs_this_server(&survey.functions, NodeId(node))? =>
        {
            parts::plan(query, Vec::new(), false)
        }
        Route::Node { node, .. } => {
            let Facts { touched, namespaces, local_view, catalogs } = facts;
            let place = OnNode { node, namespaces, local_view, catalogs };
            match unsupported::check(query, &survey, &place) {
                Ok(()) => remote_query::plan(query, source, survey, place),
                // What the node cannot do, this server does over the node's rows, or ahead of the statement.
                Err(_) if route::may_run_in_parts(&touched) => {
                    parts::plan(query, Vec::new(), false)
                }
                Err(error) => several_places::plan(query, &survey, &touched)?.ok_or(error),
            }
        }
    }
}
