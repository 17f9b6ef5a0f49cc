//! Reassembles parts of statements: for lists that are split between nodes, and for names that differ between servers.

use crate::pg::catalog::privileges;
use crate::pg::tree::list;
use crate::pg::tree::parse_nodes;
use crate::pg::tree::statement::Statement;
use pgrx::pg_sys::{self, NodeTag, Oid};

/// The text of a command around its list of objects or schemas.
pub struct AroundList {
    /// Up to the list, such as `DROP FUNCTION `.
    pub head: String,
    /// What follows it, such as ` CASCADE`.
    pub tail: String,
    /// Number of objects in the list.
    pub length: usize,
}

impl Statement {
    /// DROP of a list of objects; None for schemas and for other statements.
    pub fn around_dropped(&self) -> Option<AroundList> {
        if self.tag() != NodeTag::T_DropStmt || self.drop_schemas().is_some() {
            return None;
        }
        let node = self.node::<pg_sys::DropStmt>();
        // SAFETY: the tag says what the node is; the name of a command tag is a static C string.
        unsafe {
            let verb = match (*node).removeType {
                // As a routine, an aggregate is identified by its input types, and has a name without any.
                pg_sys::ObjectType::OBJECT_AGGREGATE => "DROP ROUTINE".into(),
                _ => parse_nodes::text(pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(
                    node.cast(),
                )))?,
            };
            let cascade = (*node).behavior == pg_sys::DropBehavior::DROP_CASCADE;
            let length = list::members::<pg_sys::Node>((*node).objects).len();
            let tail = if cascade { " CASCADE" } else { "" }.into();
            Some(AroundList { head: format!("{verb} "), tail, length })
        }
    }

    /// Whether it is VACUUM, as opposed to ANALYZE.
    pub fn is_vacuum(&self) -> bool {
        // SAFETY: the tag says what the node is.
        self.tag() == NodeTag::T_VacuumStmt
            && unsafe { (*self.node::<pg_sys::VacuumStmt>()).is_vacuumcmd }
    }

    /// The constraints of SET CONSTRAINTS, each with its schema if specified; none for ALL.
    pub fn set_constraints(&self) -> Option<Vec<(Option<String>, String)>> {
        if self.tag() != NodeTag::T_ConstraintsSetStmt {
            return None;
        }
        // SAFETY: the tag says what the node is, and so what its list holds.
        unsafe {
            let names = list::iter::<pg_sys::RangeVar>(
                (*self.node::<pg_sys::ConstraintsSetStmt>()).constraints,
            );
            let name = |name: *mut pg_sys::RangeVar| {
                let schema = parse_nodes::text((*name).schemaname);
                (schema, parse_nodes::text((*name).relname).unwrap_or_default())
            };
            Some(names.into_iter().map(name).collect())
        }
    }

    /// The database to which no session may be connected for this statement, if the user has permission: for DROP
    /// DATABASE, as a template, for a new name or tablespace.
    pub fn database_to_be_left(&self) -> Option<u32> {
        // SAFETY: the tag says what the node is.
        let name = unsafe {
            match self.tag() {
                NodeTag::T_DropdbStmt => {
                    parse_nodes::text((*self.node::<pg_sys::DropdbStmt>()).dbname)
                }
                NodeTag::T_CreatedbStmt => {
                    let options = (*self.node::<pg_sys::CreatedbStmt>()).options;
                    parse_nodes::option(options, "template")
                }
                NodeTag::T_AlterDatabaseStmt => {
                    let node = self.node::<pg_sys::AlterDatabaseStmt>();
                    parse_nodes::option((*node).options, "tablespace")
                        .and_then(|_| parse_nodes::text((*node).dbname))
                }
                NodeTag::T_RenameStmt => {
                    let node = self.node::<pg_sys::RenameStmt>();
                    ((*node).renameType == pg_sys::ObjectType::OBJECT_DATABASE)
                        .then(|| parse_nodes::text((*node).subname))
                        .flatten()
                }
                _ => None,
            }
        }?;
        privileges::owned_database(&name).map(|database| database.to_u32())
    }

    /// Whether it is DEALLOCATE ALL.
    pub fn deallocates_all(&self) -> bool {
        // SAFETY: the tag says what the node is.
        self.tag() == NodeTag::T_DeallocateStmt
            && unsafe { (*self.node::<pg_sys::DeallocateStmt>()).name.is_null() }
    }

    /// Whether it is DISCARD ALL.
    pub fn discards_all(&self) -> bool {
        // SAFETY: the tag says what the node is.
        self.tag() == NodeTag::T_DiscardStmt
            && unsafe { (*self.node::<pg_sys::DiscardStmt>()).target }
                == pg_sys::DiscardMode::DISCARD_ALL
    }

    /// The schema of REINDEX SCHEMA.
    pub fn reindexed_schema(&self) -> Option<String> {
        if self.tag() != NodeTag::T_ReindexStmt {
            return None;
        }
        let node = self.node::<pg_sys::ReindexStmt>();
        // SAFETY: the tag says what the node is.
        unsafe {
            let is_schema = (*node).kind == pg_sys::ReindexObjectType::REINDEX_OBJECT_SCHEMA;
            is_schema.then(|| parse_nodes::text((*node).name)).flatten()
        }
    }

    /// The relation of CREATE INDEX, DROP INDEX or ALTER TABLE.
    pub fn subject(&self) -> Option<Oid> {
        // SAFETY: the tag says what the node is; indexes are dropped by lists of names.
        unsafe {
            match self.tag() {
                NodeTag::T_IndexStmt => {
                    parse_nodes::relation((*self.node::<pg_sys::IndexStmt>()).relation)
                }
                NodeTag::T_AlterTableStmt => {
                    parse_nodes::relation((*self.node::<pg_sys::AlterTableStmt>()).relation)
                }
                NodeTag::T_DropStmt => {
                    let names = list::members((*self.node::<pg_sys::DropStmt>()).objects);
                    parse_nodes::relation(pg_sys::makeRangeVarFromNameList(*names.first()?))
                }
                _ => None,
            }
        }
    }

    /// The text before and after the list of relations.
    pub fn around_list(&self) -> (String, String) {
        // SAFETY: the tag says what the node is.
        unsafe {
            match self.tag() {
                NodeTag::T_TruncateStmt => {
                    let node = self.node::<pg_sys::TruncateStmt>();
                    let restart = if (*node).restart_seqs { " RESTART IDENTITY" } else { "" };
                    let cascade = (*node).behavior == pg_sys::DropBehavior::DROP_CASCADE;
                    let cascade = if cascade { " CASCADE" } else { "" };
                    ("TRUNCATE ".into(), format!("{restart}{cascade}"))
                }
                NodeTag::T_LockStmt => {
                    let node = self.node::<pg_sys::LockStmt>();
                    let nowait = if (*node).nowait { " NOWAIT" } else { "" };
                    ("LOCK TABLE ".into(), format!(" IN {} MODE{nowait}", lock_mode((*node).mode)))
                }
                NodeTag::T_VacuumStmt => {
                    let node = self.node::<pg_sys::VacuumStmt>();
                    let verb = if (*node).is_vacuumcmd { "VACUUM" } else { "ANALYZE" };
                    let options = list::iter::<pg_sys::DefElem>((*node).options);
                    let options: Vec<String> =
                        options.map(|option| vacuum_option(option)).collect();
                    let options = match options.is_empty() {
                        true => String::new(),
                        false => format!(" ({})", options.join(", ")),
                    };
                    (format!("{verb}{options} "), String::new())
                }
                _ => (String::new(), String::new()),
            }
        }
    }
}

/// # Safety
/// A valid DefElem of VACUUM or ANALYZE: a word, with a word, a number or nothing behind it.
unsafe fn vacuum_option(option: *mut pg_sys::DefElem) -> String {
    // SAFETY: by the caller's promise; defGetString reads every kind of value that the grammar allows.
    unsafe {
        let name = parse_nodes::text((*option).defname).unwrap_or_default();
        match (*option).arg.is_null() {
            true => name,
            false => {
                let value = parse_nodes::text(pg_sys::defGetString(option)).unwrap_or_default();
                format!("{name} {value}")
            }
        }
    }
}

fn lock_mode(mode: i32) -> &'static str {
    match u32::try_from(mode).unwrap_or(0) {
        pg_sys::AccessShareLock => "ACCESS SHARE",
        pg_sys::RowShareLock => "ROW SHARE",
        pg_sys::RowExclusiveLock => "ROW EXCLUSIVE",
        pg_sys::ShareUpdateExclusiveLock => "SHARE UPDATE EXCLUSIVE",
        pg_sys::ShareLock => "SHARE",
        pg_sys::ShareRowExclusiveLock => "SHARE ROW EXCLUSIVE",
        pg_sys::ExclusiveLock => "EXCLUSIVE",
        _ => "ACCESS EXCLUSIVE",
    }
}
