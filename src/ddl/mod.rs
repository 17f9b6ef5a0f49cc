//! Utility statements: distributed schemas, and definitions that have to be the same on shells and nodes.
//!
//! A statement runs on the shells first, so that errors come early and permissions are checked here. What it
//! touched is noted on the way; then its own text goes to the nodes where those objects live, in the same
//! transaction: both or neither.
//!
//! Invariant: a statement that does not touch a distributed schema, or an object that tenants share, behaves
//! exactly as without Helios; and no statement ends successfully with shell and node defined differently.
//! Lock order: what PostgreSQL locks for the statement, then the shard's lock, then the node's own locks.

pub mod concurrent;
pub mod convert;
pub mod dependencies;
pub mod drop_extension;
pub mod drop_list;
pub mod expressions;
pub mod extension;
pub mod fence_check;
pub mod large_objects;
pub mod local_only;
pub mod multi_target;
pub mod names_in_text;
pub mod nested_ddl;
pub mod object_placement;
pub mod on_node;
pub mod outside_references;
pub mod propagate;
pub mod reference;
pub mod reference_copy;
pub mod reference_rules;
pub mod schema;
pub mod send;
pub mod session_state;
pub mod statement_scope;
pub mod subscription;
pub mod table_as;
pub mod truncate_triggers;
pub mod unfinished;

use crate::catalog;
use crate::error::Result;
use crate::failpoint;
use crate::pg::hooks::utility::{Completion, Step};
use crate::pg::ipc::worker;
use crate::pg::session;
use crate::pg::tree::statement::Statement;
use crate::settings::MIGRATION_SESSION;
use crate::transaction;
use pgrx::pg_sys::NodeTag;
use statement_scope::Plan;

/// The server runs the statement, then [`after`] follows the plan.
fn then(statement: Statement, plan: Plan) -> Step {
    Step { frame: Some(statement_scope::push(plan)), ..Step::pass(statement) }
}

/// Decides what happens with a utility statement, before the server runs it.
pub fn before(statement: &Statement) -> Result<Step> {
    if let Some(database) = statement.database_to_be_left() {
        worker::hold(database);
    }
    if !concerns_definitions(statement.tag()) {
        return session_state::before(statement);
    }
    subscription::check(statement)?;
    if !catalog::exists() {
        schema::refuse_clause_without_extension(statement)?;
        return Ok(Step::pass(*statement));
    }
    if MIGRATION_SESSION.get() {
        return Ok(Step::pass(*statement));
    }
    let fenced = catalog::fences::is_up()?;
    if fenced {
        fence_check::check_named(statement)?;
    }
    if statement.is_part() || session::in_extension_script() || local_only::is_quiet() {
        return Ok(Step::pass(*statement));
    }
    if nested_ddl::concerns(statement) {
        return Ok(then(*statement, Plan::Behind));
    }
    if on_node::concerns(statement) {
        on_node::before(statement)?;
        return Ok(then(*statement, Plan::OnNode));
    }
    failpoint::hit(failpoint::DEFINITION_BEFORE)?;
    let routed = expressions::route_arguments(statement)?;
    let statement = &routed.statement;
    catalog::lock_cluster_shared();
    if let Some(step) = schema::before(statement)? {
        return Ok(step);
    }
    if !catalog::in_use() {
        return Ok(match statement.tag() {
            NodeTag::T_DropStmt | NodeTag::T_DropOwnedStmt => then(*statement, Plan::Bookkeeping),
            _ if fenced => then(*statement, Plan::Bookkeeping),
            _ => Step::pass(*statement),
        });
    }
    if let Some(step) = multi_target::before(statement)? {
        return Ok(step);
    }
    if let Some(step) = table_as::before(statement)? {
        return Ok(step);
    }
    reference::before(statement)?;
    if let Some(step) = concurrent::before(statement)? {
        return Ok(step);
    }
    if let Some(step) = drop_list::before(statement)? {
        return Ok(step);
    }
    propagate::before(statement)
}

/// Follows the plan of a utility statement after the server ran it. `frame` is what [`before`] gave; `statement` the original one.
pub fn after(frame: usize, statement: &Statement) -> Result<Option<Completion>> {
    let frame = statement_scope::pop(frame);
    // DROP EXTENSION helios leaves nothing to keep right.
    if !catalog::exists() {
        return Ok(None);
    }
    failpoint::hit(failpoint::DEFINITION_LOCAL)?;
    fence_check::check_made(&frame)?;
    let dropped = frame.dropped_schemas();
    let completion = match &frame.plan {
        Plan::Bookkeeping => None,
        Plan::Behind => {
            nested_ddl::after(&frame)?;
            None
        }
        Plan::OnNode => {
            on_node::after(&frame)?;
            None
        }
        Plan::DropList(parts) => {
            drop_list::after(parts)?;
            None
        }
        Plan::Lock => {
            multi_target::locked(statement)?;
            None
        }
        Plan::TruncateReferences { parts, silenced } => {
            multi_target::truncated(statement, parts, silenced)?;
            None
        }
        Plan::CreateSchema(plan) => {
            schema::created(plan, &frame, statement)?;
            None
        }
        Plan::PlainSchema { text } => {
            dependencies::check_all(&frame)?;
            send::to_all(text.as_bytes())?;
            None
        }
        Plan::RenameSchema { old, new } => {
            schema::renamed(old, new, statement)?;
            None
        }
        Plan::DropSchemas { cascade } => {
            schema::dropped(&frame, *cascade)?;
            None
        }
        Plan::ImportSnapshot(nodes) => {
            transaction::snapshots::imported(nodes.clone());
            None
        }
        Plan::FinishPrepared { transaction } => {
            transaction::finish_user_prepared(*transaction);
            None
        }
        Plan::TableAs { node } => table_as::after(*node, &frame, statement)?,
        Plan::Everywhere => {
            send::own_to_all(statement)?;
            None
        }
        Plan::Touched { models } => {
            propagate::after(&frame, models, statement)?;
            None
        }
    };
    for schema in &dropped {
        schema::refuse_while_moving(schema, "drop")?;
    }
    reference::after(&frame, statement)?;
    for (node, text) in &frame.later {
        send::to(*node, text)?;
    }
    for schema in dropped {
        if catalog::home_of(&schema)?.is_some() {
            catalog::forget_schema(&schema)?;
        }
    }
    failpoint::hit(failpoint::DEFINITION_AFTER)?;
    Ok(completion)
}

/// Statements that neither define anything nor are the node's business; most of all those that must work outside a
/// transaction or in a failed one.
fn concerns_definitions(tag: NodeTag) -> bool {
    !matches!(
        tag,
        NodeTag::T_TransactionStmt
            | NodeTag::T_VariableSetStmt
            | NodeTag::T_VariableShowStmt
            | NodeTag::T_DiscardStmt
            | NodeTag::T_PrepareStmt
            | NodeTag::T_ExecuteStmt
            | NodeTag::T_DeallocateStmt
            | NodeTag::T_DeclareCursorStmt
            | NodeTag::T_FetchStmt
            | NodeTag::T_ClosePortalStmt
            | NodeTag::T_ExplainStmt
            | NodeTag::T_CopyStmt
            | NodeTag::T_CallStmt
            | NodeTag::T_DoStmt
            | NodeTag::T_ListenStmt
            | NodeTag::T_NotifyStmt
            | NodeTag::T_UnlistenStmt
            | NodeTag::T_LoadStmt
            | NodeTag::T_CheckPointStmt
            | NodeTag::T_ConstraintsSetStmt
    )
}
