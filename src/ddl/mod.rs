//! Utility statements: distributed schemas, and definitions that have to be the same on shells and nodes.
//!
//! A statement runs on the shells first, so that errors come early and permissions are checked here. What it
//! touched is noted on the way; then its own text goes to the nodes where those objects live, in the same
//! transaction: both or neither.
//!
//! Invariant: a statement that does not touch a distributed schema, or an object that tenants share, behaves
//! exactly as without Helios; and no statement ends successfully with shell and node defined differently.
//! Lock order: what PostgreSQL locks for the statement, then the shard's lock, then the node's own locks.

mod behind;
pub mod claim;
mod concurrent;
pub mod convert;
mod drop_list;
mod end;
mod expressions;
mod extension;
mod fence;
mod foundations;
mod frame;
pub mod home;
mod large_objects;
mod listed;
mod names_in_text;
mod on_node;
mod outside;
mod propagate;
mod quiet;
pub mod reference;
mod reference_copy;
mod reference_rules;
pub mod roles;
pub mod schema;
mod send;
mod session_state;
mod silent;
mod subscription;
mod table_as;
mod unfinished;

use crate::directory;
use crate::error::Result;
use crate::failpoint;
use crate::pg::object_access::{self, Listener};
use crate::pg::session;
use crate::pg::statement::Statement;
use crate::pg::utility_hook::{self, Completion, Handler, Step};
use crate::pg::worker;
use crate::settings::MIGRATION_SESSION;
use crate::transaction;
use frame::Plan;
use pgrx::pg_sys::NodeTag;

/// Puts the hooks in. Called once, from `_PG_init`.
pub fn install() {
    utility_hook::install(Handler { before, after });
    object_access::install(Listener {
        record: frame::record,
        touches: fence::touches,
        failed: frame::forget_statements,
    });
}

/// The server runs the statement, then [`after`] follows the plan.
fn then(statement: Statement, plan: Plan) -> Step {
    Step { frame: Some(frame::push(plan)), ..Step::pass(statement) }
}

/// Before the server runs the statement.
fn before(statement: &Statement) -> Result<Step> {
    if let Some(database) = statement.database_to_be_left() {
        worker::hold(database);
    }
    if !concerns_definitions(statement.tag()) {
        return session_state::before(statement);
    }
    subscription::check(statement)?;
    if !directory::exists() {
        schema::refuse_clause_without_extension(statement)?;
        return Ok(Step::pass(*statement));
    }
    if MIGRATION_SESSION.get() {
        return Ok(Step::pass(*statement));
    }
    let fenced = directory::fence::is_up()?;
    if fenced {
        fence::check_named(statement)?;
    }
    if statement.is_part() || session::in_extension_script() || quiet::is_quiet() {
        return Ok(Step::pass(*statement));
    }
    if behind::concerns(statement) {
        return Ok(then(*statement, Plan::Behind));
    }
    if on_node::concerns(statement) {
        on_node::before(statement)?;
        return Ok(then(*statement, Plan::OnNode));
    }
    failpoint::hit(failpoint::DEFINITION_BEFORE)?;
    let routed = expressions::route_arguments(statement)?;
    let statement = &routed.statement;
    directory::lock_cluster_shared();
    if let Some(step) = schema::before(statement)? {
        return Ok(step);
    }
    if !directory::in_use() {
        return Ok(match statement.tag() {
            NodeTag::T_DropStmt | NodeTag::T_DropOwnedStmt => then(*statement, Plan::Bookkeeping),
            _ if fenced => then(*statement, Plan::Bookkeeping),
            _ => Step::pass(*statement),
        });
    }
    if let Some(step) = listed::before(statement)? {
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

/// After the server ran the statement. `frame` is what [`before`] gave; `statement` the original one.
fn after(frame: usize, statement: &Statement) -> Result<Option<Completion>> {
    let frame = frame::pop(frame);
    // DROP EXTENSION helios leaves nothing to keep right.
    if !directory::exists() {
        return Ok(None);
    }
    failpoint::hit(failpoint::DEFINITION_LOCAL)?;
    fence::check_made(&frame)?;
    let dropped = frame.dropped_schemas();
    let completion = match &frame.plan {
        Plan::Bookkeeping => None,
        Plan::Behind => {
            behind::after(&frame)?;
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
            listed::locked(statement)?;
            None
        }
        Plan::TruncateReferences { parts, silenced } => {
            listed::truncated(statement, parts, silenced)?;
            None
        }
        Plan::CreateSchema(plan) => {
            schema::created(plan, &frame, statement)?;
            None
        }
        Plan::PlainSchema { text } => {
            foundations::check_all(&frame)?;
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
        if directory::home_of(&schema)?.is_some() {
            directory::forget_schema(&schema)?;
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
