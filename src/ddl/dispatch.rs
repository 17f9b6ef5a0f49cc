//! Processing of a utility command before and after the server runs it: which rules of this module apply, in which
//! order. Start reading here to follow a DDL command.

use super::follow_up::FollowUp;
use super::statement_scope::begin;
use super::{
    concurrent, dependencies, expressions, extension, fence_check, local_only, multi_target,
    nested_ddl, object_list, on_node, propagate, reference_table, schema, send, session_commands,
    set_schema, statement_scope, subscription, table_as,
};
use crate::catalog;
use crate::error::Result;
use crate::failpoint;
use crate::pg::catalog::object::{self, Object};
use crate::pg::hooks::utility::{Completion, Step};
use crate::pg::session;
use crate::pg::tree::statement::Statement;
use crate::settings::MIGRATION_SESSION;
use crate::shared::worker_slots;
use crate::transaction;
use pgrx::pg_sys::NodeTag;

/// Called for objects that the server is about to alter, drop or truncate.
pub fn touches(object: Object) -> Result<()> {
    if object::is_extension(object) {
        catalog::gate::changed(object.id);
    }
    fence_check::touches(object)
}

/// Decides how to process a utility command before the server runs it.
pub fn before(statement: &Statement) -> Result<Step> {
    if let Some(database) = statement.database_to_be_left() {
        worker_slots::hold(database);
    }
    if !concerns_definitions(statement.tag()) {
        return session_commands::before(statement);
    }
    subscription::check(statement)?;
    if !catalog::exists() {
        schema::refuse_clause_without_extension(statement)?;
        return Ok(Step::pass(*statement));
    }
    if extension::of_ours(statement)? || MIGRATION_SESSION.get() {
        return Ok(Step::pass(*statement));
    }
    catalog::gate::admit()?;
    let fenced = catalog::fences::is_up()?;
    if fenced {
        fence_check::check_named(statement)?;
    }
    if statement.is_part() || session::in_extension_script() || local_only::is_active() {
        return Ok(Step::pass(*statement));
    }
    if nested_ddl::concerns(statement) {
        return Ok(begin(*statement, FollowUp::NestedDdl));
    }
    if on_node::concerns(statement)? {
        on_node::before(statement)?;
        return Ok(begin(*statement, FollowUp::OnNode));
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
            NodeTag::T_DropStmt | NodeTag::T_DropOwnedStmt => {
                begin(*statement, FollowUp::Bookkeeping)
            }
            _ if fenced => begin(*statement, FollowUp::Bookkeeping),
            _ => Step::pass(*statement),
        });
    }
    if let Some(step) = multi_target::before(statement)? {
        return Ok(step);
    }
    if let Some(step) = table_as::before(statement)? {
        return Ok(step);
    }
    if let Some(step) = reference_table::before(statement)? {
        return Ok(step);
    }
    if let Some(step) = concurrent::before(statement)? {
        return Ok(step);
    }
    if let Some(step) = object_list::before(statement)? {
        return Ok(step);
    }
    if let Some(step) = set_schema::before(statement)? {
        return Ok(step);
    }
    propagate::before(statement)
}

/// Carries out the follow-up of a utility command after the server ran it. `scope` is the result of [`before`];
/// `statement` is the original one.
pub fn after(scope: usize, statement: &Statement) -> Result<Option<Completion>> {
    let scope = statement_scope::pop(scope);
    // After DROP EXTENSION helios there is nothing left to maintain.
    if !catalog::exists() {
        return Ok(None);
    }
    failpoint::hit(failpoint::DEFINITION_LOCAL)?;
    fence_check::check_made(&scope)?;
    let dropped = scope.dropped_schemas();
    let completion = match &scope.plan {
        FollowUp::Bookkeeping => None,
        FollowUp::NestedDdl => {
            nested_ddl::after(&scope)?;
            None
        }
        FollowUp::OnNode => {
            on_node::after(&scope)?;
            None
        }
        FollowUp::ObjectList(parts) => {
            object_list::after(parts)?;
            None
        }
        FollowUp::Lock => {
            multi_target::locked(statement)?;
            None
        }
        FollowUp::TruncateReferences { parts, silenced } => {
            multi_target::truncated(statement, parts, silenced)?;
            None
        }
        FollowUp::CreateSchema(plan) => {
            schema::created(plan, &scope, statement)?;
            None
        }
        FollowUp::PlainSchema { text } => {
            dependencies::check_all(&scope)?;
            send::to_all(text.as_bytes())?;
            None
        }
        FollowUp::RenameSchema { old, new } => {
            schema::renamed(old, new, statement)?;
            None
        }
        FollowUp::DropSchemas { cascade } => {
            schema::dropped(&scope, *cascade)?;
            None
        }
        FollowUp::ImportSnapshot(nodes) => {
            transaction::snapshots::imported(nodes.clone());
            None
        }
        FollowUp::FinishPrepared { transaction } => {
            transaction::finish_user_prepared(*transaction);
            None
        }
        FollowUp::TableAs { node } => table_as::after(*node, &scope, statement)?,
        FollowUp::TableFrom { node, query } => table_as::insert(*node, &scope, query.as_deref())?,
        FollowUp::Relocate(plan) => {
            set_schema::after(plan, statement)?;
            None
        }
        FollowUp::Everywhere => {
            send::own_to_all(statement)?;
            None
        }
        FollowUp::Touched { models } => {
            propagate::after(&scope, models, statement)?;
            None
        }
    };
    for schema in &dropped {
        schema::refuse_while_moving(schema, "drop")?;
    }
    reference_table::after(&scope, statement)?;
    for (node, text) in &scope.later {
        send::to(*node, text)?;
    }
    for schema in dropped {
        if catalog::any_placement_of(&schema)?.is_some() {
            catalog::forget_schema(&schema)?;
        }
    }
    failpoint::hit(failpoint::DEFINITION_AFTER)?;
    Ok(completion)
}

/// Commands that do not define anything and do not concern nodes; in particular those that must work outside a
/// transaction or in an aborted one.
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
