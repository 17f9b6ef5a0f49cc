//! Objects named in a statement that leave no trace in `pg_depend`, found before it runs.

use crate::pg::catalog::object::{self, Object};
use crate::pg::catalog::references;
use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::list;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::{QueryTree, Survey};
use pgrx::pg_sys::{self, NodeTag, ObjectType, Oid};
use std::ffi::CString;

impl Statement {
    /// All objects named in the query of CREATE TABLE AS and similar commands: relations, types, functions, operators,
    /// collations, and objects identified by constants. None for other commands.
    pub fn table_as_references(&self) -> Vec<Object> {
        if self.tag() != NodeTag::T_CreateTableAsStmt {
            return Vec::new();
        }
        // SAFETY: the tag says what the node is; its query has been analyzed. The server's function records the dependencies
        // of a nonexistent object in pg_depend, from where they are read and deleted again.
        unsafe {
            let query = (*self.node::<pg_sys::CreateTableAsStmt>()).query;
            let is_query = !query.is_null()
                && (*query).type_ == NodeTag::T_Query
                && (*query.cast::<pg_sys::Query>()).commandType != pg_sys::CmdType::CMD_UTILITY;
            if !is_query || pg_sys::RecoveryInProgress() {
                return Vec::new();
            }
            let depender = object::of_rule(pg_sys::GetNewObjectId());
            let address = pg_sys::ObjectAddress {
                classId: depender.class,
                objectId: depender.id,
                objectSubId: 0,
            };
            let normal = pg_sys::DependencyType::DEPENDENCY_NORMAL;
            pg_sys::recordDependencyOnExpr(&address, query, std::ptr::null_mut(), normal);
            pg_sys::CommandCounterIncrement();
            let found = references::of(depender);
            pg_sys::deleteDependencyRecordsFor(depender.class, depender.id, false);
            pg_sys::CommandCounterIncrement();
            found
        }
    }

    /// Surveys the query of CREATE TABLE AS and similar commands, with views expanded. None for other commands, and
    /// without a query.
    pub fn table_as_survey<R: FunctionRules>(&self) -> Option<Survey<'_>> {
        if self.tag() != NodeTag::T_CreateTableAsStmt {
            return None;
        }
        // SAFETY: the tag says what the node is; its query has been analyzed, and the copy is the rewriter's to change.
        unsafe {
            let query = (*self.node::<pg_sys::CreateTableAsStmt>()).query;
            if query.is_null() || (*query).type_ != NodeTag::T_Query {
                return None;
            }
            let rewritten = pg_sys::QueryRewrite(pg_sys::copyObjectImpl(query.cast()).cast());
            let first = *list::members::<pg_sys::Query>(rewritten).first()?;
            QueryTree::new(first).map(QueryTree::survey::<R>)
        }
    }

    /// Whether it names objects without creating a dependency on them: expressions that compute rows or partition
    /// bounds, and sources of LIKE and similar clauses.
    pub fn names_without_trace(&self) -> bool {
        // SAFETY: the tags say what the nodes are.
        unsafe {
            match self.tag() {
                NodeTag::T_CreateStmt => !(*self.node::<pg_sys::CreateStmt>()).partbound.is_null(),
                NodeTag::T_AlterTableStmt => {
                    let commands = list::iter::<pg_sys::AlterTableCmd>(
                        (*self.node::<pg_sys::AlterTableStmt>()).cmds,
                    );
                    commands.into_iter().any(|command| computes(command))
                }
                NodeTag::T_DefineStmt => matches!(
                    (*self.node::<pg_sys::DefineStmt>()).kind,
                    ObjectType::OBJECT_OPERATOR
                        | ObjectType::OBJECT_COLLATION
                        | ObjectType::OBJECT_TSCONFIGURATION
                        | ObjectType::OBJECT_TYPE
                ),
                _ => false,
            }
        }
    }
}

/// # Safety
/// A valid command of ALTER TABLE.
unsafe fn computes(command: *mut pg_sys::AlterTableCmd) -> bool {
    // SAFETY: by the caller's promise; the tags say what the nodes are.
    unsafe {
        let definition = (*command).def;
        if definition.is_null() {
            return false;
        }
        match (*definition).type_ {
            NodeTag::T_ColumnDef => {
                (*command).subtype == pg_sys::AlterTableType::AT_AlterColumnType
                    && !(*definition.cast::<pg_sys::ColumnDef>()).raw_default.is_null()
            }
            NodeTag::T_PartitionCmd => {
                !(*definition.cast::<pg_sys::PartitionCmd>()).bound.is_null()
            }
            _ => false,
        }
    }
}

/// The schemas in which names are looked up, including implicit ones and that of temporary objects.
pub fn search_path() -> Vec<Oid> {
    // SAFETY: the list is a copy, and of OIDs.
    unsafe {
        let path = pg_sys::fetch_search_path(true);
        if path.is_null() {
            return Vec::new();
        }
        let length = usize::try_from((*path).length).unwrap_or(0);
        let found = (0..length).map(|i| (*(*path).elements.add(i)).oid_value).collect();
        pg_sys::list_free(path);
        found
    }
}

/// The relation to which an unqualified name currently refers.
pub fn visible_relation(name: &str) -> Option<Object> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is NUL-terminated and outlives the call.
    let found = unsafe { pg_sys::RelnameGetRelid(name.as_ptr()) };
    (found != pg_sys::InvalidOid).then(|| object::of_relation(found))
}
