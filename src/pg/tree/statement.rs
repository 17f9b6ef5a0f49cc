//! A utility statement being processed: safe views of its tree, and modified copies.

use crate::error::Error;
use crate::pg::tree::enclosing::{self, Call};
use crate::pg::tree::list;
use crate::pg::tree::parse_nodes;
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{CStr, c_char};

/// A utility statement being executed. It can be read until the call of the hook to which it was passed returns;
/// afterwards every method panics, because the tree has been freed.
#[derive(Clone, Copy)]
pub struct Statement {
    planned: *mut pg_sys::PlannedStmt,
    source: *const c_char,
    context: pg_sys::ProcessUtilityContext::Type,
    has_parameters: bool,
    call: Call,
}

/// The beginning of CREATE SCHEMA.
pub struct CreateSchema {
    /// The schema's name, or AUTHORIZATION's role if none is given.
    pub name: String,
    /// The role that shall own it, if specified.
    pub owner: Option<String>,
    /// Whether IF NOT EXISTS was specified.
    pub if_not_exists: bool,
    /// Whether it contains schema elements.
    pub has_elements: bool,
}

/// A relation listed in a statement.
pub struct RelationTarget {
    /// The relation, if it exists.
    pub relation: Option<Oid>,
    /// Its schema as written.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// Columns, for ANALYZE.
    pub columns: Vec<String>,
    /// Whether ONLY was specified.
    pub only: bool,
}

impl Statement {
    /// The statement of the innermost call of the utility hook.
    ///
    /// # Safety
    /// The arguments are those of that call.
    pub(in crate::pg) unsafe fn new(
        planned: *mut pg_sys::PlannedStmt,
        source: *const c_char,
        context: pg_sys::ProcessUtilityContext::Type,
        has_parameters: bool,
    ) -> Self {
        Self { planned, source, context, has_parameters, call: enclosing::call() }
    }

    /// Whether its text refers to parameters or variables, whose values are not part of the text.
    pub fn has_parameters(&self) -> bool {
        self.has_parameters
    }

    /// The statement in PostgreSQL's representation, which has not been freed.
    pub(in crate::pg) fn planned(&self) -> *mut pg_sys::PlannedStmt {
        assert!(enclosing::is_under_way(self.call), "attempt to access a statement past its end");
        self.planned
    }

    /// # Safety
    /// `planned` lives as long as the one it takes the place of.
    pub(in crate::pg) unsafe fn set_planned(&mut self, planned: *mut pg_sys::PlannedStmt) {
        self.planned = planned;
    }

    /// The kind of statement.
    pub fn tag(&self) -> NodeTag {
        // SAFETY: guaranteed by `new`, for as long as `planned` returns it.
        unsafe { (*(*self.planned()).utilityStmt).type_ }
    }

    pub(in crate::pg) fn node<T>(&self) -> *mut T {
        // SAFETY: guaranteed by `new`, for as long as `planned` returns it.
        unsafe { (*self.planned()).utilityStmt.cast() }
    }

    /// Whether it is part of another statement, which is sent as a whole.
    pub fn is_part(&self) -> bool {
        self.context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND
    }

    /// Whether it was sent by the client, as opposed to a function.
    pub fn is_top_level(&self) -> bool {
        self.context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL
    }

    /// The transaction of COMMIT PREPARED or ROLLBACK PREPARED.
    pub fn finishes_prepared(&self) -> Option<String> {
        if self.tag() != NodeTag::T_TransactionStmt {
            return None;
        }
        let node = self.node::<pg_sys::TransactionStmt>();
        // SAFETY: the tag says what the node is; the name is a C string of the tree.
        unsafe {
            use pg_sys::TransactionStmtKind::*;
            let finishes =
                matches!((*node).kind, TRANS_STMT_COMMIT_PREPARED | TRANS_STMT_ROLLBACK_PREPARED);
            if finishes { crate::pg::tree::parse_nodes::text((*node).gid) } else { None }
        }
    }

    /// Whether it runs in a transaction block, a function, or a string of several statements, so that it must not
    /// commit.
    pub fn in_transaction_block(&self) -> bool {
        // SAFETY: reads backend-local variables.
        unsafe { pg_sys::IsInTransactionBlock(self.is_top_level()) }
    }

    /// The whole source text that contains the statement.
    pub fn source(&self) -> &[u8] {
        if self.planned().is_null() || self.source.is_null() {
            return &[];
        }
        // SAFETY: as `new` promises; the string is NUL-terminated.
        unsafe { CStr::from_ptr(self.source) }.to_bytes()
    }

    /// Byte offset of the statement's own text in the source.
    pub fn start(&self) -> usize {
        // SAFETY: guaranteed by `new`, for as long as `planned` returns it.
        let start = unsafe { (*self.planned()).stmt_location };
        usize::try_from(start).unwrap_or(0).min(self.source().len())
    }

    /// The statement's own text.
    pub fn text(&self) -> &[u8] {
        // SAFETY: guaranteed by `new`, for as long as `planned` returns it.
        let length = usize::try_from(unsafe { (*self.planned()).stmt_len }).unwrap_or(0);
        let rest = &self.source()[self.start()..];
        if length == 0 { rest } else { &rest[..length.min(rest.len())] }
    }

    /// Number of characters before the statement's own text.
    pub fn characters_before(&self) -> i32 {
        let before = i32::try_from(self.start()).unwrap_or(0);
        if before == 0 {
            return 0;
        }
        // SAFETY: the text is at least `before` bytes long.
        unsafe { pg_sys::pg_mbstrlen_with_len(self.source, before) }
    }

    /// Shifts the position of a node's error, which is relative to the statement's own text, to the position in the
    /// source.
    pub fn shift(&self, mut error: Error) -> Error {
        let characters = self.characters_before();
        if let Some(position) = &mut error.fields_mut().position {
            *position += characters;
        }
        error
    }

    /// Sets an error's position to a byte of the statement's own text.
    pub fn blame(&self, error: Error, byte: usize) -> Error {
        let before = self.start() + byte;
        let length = i32::try_from(before.min(self.source().len())).unwrap_or(0);
        // SAFETY: the text is at least `length` bytes long.
        let characters = unsafe { pg_sys::pg_mbstrlen_with_len(self.source, length) };
        error.position(characters + 1)
    }

    /// CREATE SCHEMA.
    pub fn create_schema(&self) -> Option<CreateSchema> {
        if self.tag() != NodeTag::T_CreateSchemaStmt {
            return None;
        }
        let node = self.node::<pg_sys::CreateSchemaStmt>();
        // SAFETY: the tag says what the node is.
        unsafe {
            let role = (*node).authrole;
            let owner = (!role.is_null()).then(|| {
                let oid = pg_sys::get_rolespec_oid(role, false);
                crate::pg::catalog::privileges::role_name(oid)
            });
            let name = parse_nodes::text((*node).schemaname).or_else(|| owner.clone())?;
            let has_elements = !list::members::<pg_sys::Node>((*node).schemaElts).is_empty();
            Some(CreateSchema { name, owner, if_not_exists: (*node).if_not_exists, has_elements })
        }
    }

    /// ALTER SCHEMA … RENAME: the old and the new name.
    pub fn rename_schema(&self) -> Option<(String, String)> {
        if self.tag() != NodeTag::T_RenameStmt {
            return None;
        }
        let node = self.node::<pg_sys::RenameStmt>();
        // SAFETY: the tag says what the node is.
        unsafe {
            let is_schema = (*node).renameType == pg_sys::ObjectType::OBJECT_SCHEMA;
            let names = is_schema
                .then(|| (parse_nodes::text((*node).subname), parse_nodes::text((*node).newname)));
            names.and_then(|(old, new)| old.zip(new))
        }
    }

    /// DROP SCHEMA: the names, and whether CASCADE was specified.
    pub fn drop_schemas(&self) -> Option<(Vec<String>, bool)> {
        if self.tag() != NodeTag::T_DropStmt {
            return None;
        }
        let node = self.node::<pg_sys::DropStmt>();
        // SAFETY: the tag says what the node is; schemas are dropped by String nodes.
        unsafe {
            if (*node).removeType != pg_sys::ObjectType::OBJECT_SCHEMA {
                return None;
            }
            let names = list::iter((*node).objects).filter_map(|name| parse_nodes::string(name));
            Some((names.collect(), (*node).behavior == pg_sys::DropBehavior::DROP_CASCADE))
        }
    }

    /// The subscription that the statement alters, renames, reassigns or drops.
    pub fn changed_subscription(&self) -> Option<String> {
        // SAFETY: the tag says what the node is; a subscription is named by a String node.
        unsafe {
            match self.tag() {
                NodeTag::T_AlterSubscriptionStmt => {
                    parse_nodes::text((*self.node::<pg_sys::AlterSubscriptionStmt>()).subname)
                }
                NodeTag::T_DropSubscriptionStmt => {
                    parse_nodes::text((*self.node::<pg_sys::DropSubscriptionStmt>()).subname)
                }
                NodeTag::T_RenameStmt => {
                    let node = self.node::<pg_sys::RenameStmt>();
                    let is_one = (*node).renameType == pg_sys::ObjectType::OBJECT_SUBSCRIPTION;
                    is_one.then(|| parse_nodes::string((*node).object)).flatten()
                }
                NodeTag::T_AlterOwnerStmt => {
                    let node = self.node::<pg_sys::AlterOwnerStmt>();
                    let is_one = (*node).objectType == pg_sys::ObjectType::OBJECT_SUBSCRIPTION;
                    is_one.then(|| parse_nodes::string((*node).object)).flatten()
                }
                _ => None,
            }
        }
    }

    /// SECURITY LABEL FOR this provider ON SCHEMA: the schema and the label.
    pub fn label_of(&self, provider: &str) -> Option<(Option<String>, Option<String>)> {
        if self.tag() != NodeTag::T_SecLabelStmt {
            return None;
        }
        let node = self.node::<pg_sys::SecLabelStmt>();
        // SAFETY: the tag says what the node is; a schema is labelled by a String node.
        unsafe {
            if parse_nodes::text((*node).provider).as_deref() != Some(provider) {
                return None;
            }
            let is_schema = (*node).objtype == pg_sys::ObjectType::OBJECT_SCHEMA;
            let schema = is_schema.then(|| parse_nodes::string((*node).object)).flatten();
            Some((schema, parse_nodes::text((*node).label)))
        }
    }

    /// The relations listed in TRUNCATE, LOCK, VACUUM, ANALYZE, REFRESH, CLUSTER or REINDEX; None for other statements
    /// and without a list.
    pub fn relation_targets(&self) -> Option<Vec<RelationTarget>> {
        // SAFETY: the tag says what the node is.
        unsafe {
            let names: Vec<(*mut pg_sys::RangeVar, Vec<String>)> = match self.tag() {
                NodeTag::T_TruncateStmt => plain((*self.node::<pg_sys::TruncateStmt>()).relations),
                NodeTag::T_LockStmt => plain((*self.node::<pg_sys::LockStmt>()).relations),
                NodeTag::T_RefreshMatViewStmt => {
                    vec![((*self.node::<pg_sys::RefreshMatViewStmt>()).relation, Vec::new())]
                }
                NodeTag::T_ClusterStmt => one((*self.node::<pg_sys::ClusterStmt>()).relation),
                NodeTag::T_ReindexStmt => one((*self.node::<pg_sys::ReindexStmt>()).relation),
                NodeTag::T_VacuumStmt => vacuumed((*self.node::<pg_sys::VacuumStmt>()).rels),
                _ => return None,
            };
            let target = |(name, columns): (*mut pg_sys::RangeVar, Vec<String>)| RelationTarget {
                relation: parse_nodes::relation(name),
                schema: parse_nodes::text((*name).schemaname),
                name: parse_nodes::text((*name).relname).unwrap_or_default(),
                columns,
                only: !(*name).inh,
            };
            (!names.is_empty()).then(|| names.into_iter().map(target).collect())
        }
    }
}

/// # Safety
/// A valid list of RangeVars.
unsafe fn plain(list: *mut pg_sys::List) -> Vec<(*mut pg_sys::RangeVar, Vec<String>)> {
    // SAFETY: by the caller's promise.
    unsafe { list::members(list) }.into_iter().map(|name| (name, Vec::new())).collect()
}

fn one(name: *mut pg_sys::RangeVar) -> Vec<(*mut pg_sys::RangeVar, Vec<String>)> {
    if name.is_null() { Vec::new() } else { vec![(name, Vec::new())] }
}

/// # Safety
/// A valid list of VacuumRelations.
unsafe fn vacuumed(list: *mut pg_sys::List) -> Vec<(*mut pg_sys::RangeVar, Vec<String>)> {
    // SAFETY: by the caller's promise.
    unsafe {
        let relations = list::iter::<pg_sys::VacuumRelation>(list);
        relations
            .filter(|relation| !(**relation).relation.is_null())
            .map(|relation| {
                let columns = list::iter((*relation).va_cols);
                (
                    (*relation).relation,
                    columns.filter_map(|column| parse_nodes::string(column)).collect(),
                )
            })
            .collect()
    }
}
