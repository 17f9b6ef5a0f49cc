//! Modified copies of a statement: the shell often needs less than the original command.

use crate::pg::tree::QueryTree;
use crate::pg::tree::deparse;
use crate::pg::tree::list;
use crate::pg::tree::parse_nodes;
use crate::pg::tree::statement::{RelationTarget, Statement};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::CStr;

/// CREATE TABLE AS, SELECT INTO or CREATE MATERIALIZED VIEW.
pub struct TableAs {
    /// The schema that the new relation will be in.
    pub namespace: Oid,
    /// Its name.
    pub name: String,
    /// Whether it exists and IF NOT EXISTS was specified.
    pub exists_and_may: bool,
    /// Whether its rows come from a prepared statement.
    pub from_prepared: bool,
    /// Whether it is a table, and not a materialized view.
    pub is_table: bool,
    /// Whether WITH NO DATA was specified.
    pub no_data: bool,
}

impl Statement {
    pub(in crate::pg) fn copy(&self) -> Self {
        let mut copy = *self;
        // SAFETY: the tree is valid, and its copy lives in the current memory context, which outlives the statement.
        unsafe { copy.set_planned(pg_sys::copyObjectImpl(self.planned().cast()).cast()) };
        copy
    }

    /// CREATE TABLE AS and similar commands.
    pub fn table_as(&self) -> Option<TableAs> {
        if self.tag() != NodeTag::T_CreateTableAsStmt {
            return None;
        }
        let node = self.node::<pg_sys::CreateTableAsStmt>();
        // SAFETY: the tag says what the node is; its query has been analyzed.
        unsafe {
            let into = (*node).into;
            let name = crate::pg::tree::parse_nodes::text((*(*into).rel).relname)?;
            let namespace = pg_sys::RangeVarGetCreationNamespace((*into).rel);
            let c_name = crate::pg::tree::parse_nodes::palloc_text(&name);
            let exists = pg_sys::get_relname_relid(c_name, namespace) != pg_sys::InvalidOid;
            let query = (*node).query;
            let utility = (*query).type_ == NodeTag::T_Query
                && (*query.cast::<pg_sys::Query>()).commandType == pg_sys::CmdType::CMD_UTILITY;
            Some(TableAs {
                namespace,
                name,
                exists_and_may: exists && (*node).if_not_exists,
                from_prepared: utility,
                is_table: (*node).objtype == pg_sys::ObjectType::OBJECT_TABLE,
                no_data: (*into).skipData,
            })
        }
    }

    /// The query of CREATE TABLE AS with all names qualified; None for another command.
    pub fn table_as_query(&self) -> crate::error::Result<Option<String>> {
        if self.tag() != NodeTag::T_CreateTableAsStmt {
            return Ok(None);
        }
        // SAFETY: the tag says what the node is; its query has been analyzed.
        let query =
            unsafe { QueryTree::new((*self.node::<pg_sys::CreateTableAsStmt>()).query.cast()) };
        let text = query.map(deparse::query_text).transpose()?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// CREATE TABLE AS … WITH NO DATA.
    pub fn with_no_data(&self) -> Self {
        let copy = self.copy();
        // SAFETY: only called for a CREATE TABLE AS; checked again here.
        unsafe {
            if copy.tag() == NodeTag::T_CreateTableAsStmt {
                (*(*copy.node::<pg_sys::CreateTableAsStmt>()).into).skipData = true;
            }
        }
        copy
    }

    /// The statement with only these of the listed relations.
    pub fn with_targets(&self, keep: &[usize]) -> Self {
        let copy = self.copy();
        // SAFETY: the tag says what the node is.
        unsafe {
            let list = match copy.tag() {
                NodeTag::T_TruncateStmt => {
                    &raw mut (*copy.node::<pg_sys::TruncateStmt>()).relations
                }
                NodeTag::T_LockStmt => &raw mut (*copy.node::<pg_sys::LockStmt>()).relations,
                NodeTag::T_VacuumStmt => &raw mut (*copy.node::<pg_sys::VacuumStmt>()).rels,
                _ => return copy,
            };
            let all = list::members::<std::ffi::c_void>(*list);
            let kept = keep.iter().filter_map(|&i| all.get(i));
            *list = kept.fold(std::ptr::null_mut(), |list, &member| pg_sys::lappend(list, member));
        }
        copy
    }

    /// The identifier in SET TRANSACTION SNAPSHOT.
    pub fn snapshot_to_import(&self) -> Option<String> {
        if self.tag() != NodeTag::T_VariableSetStmt {
            return None;
        }
        // SAFETY: the tag says what the node is; with this name its one argument is a string constant.
        unsafe {
            let set = self.node::<pg_sys::VariableSetStmt>();
            let is_multi = (*set).kind == pg_sys::VariableSetKind::VAR_SET_MULTI;
            let is_snapshot = is_multi
                && parse_nodes::text((*set).name).as_deref() == Some("TRANSACTION SNAPSHOT");
            let first = if is_snapshot {
                list::members::<pg_sys::A_Const>((*set).args)
            } else {
                Vec::new()
            };
            first.first().and_then(|constant| parse_nodes::text((**constant).val.sval.sval))
        }
    }

    /// The statement with another snapshot identifier.
    pub fn with_snapshot(&self, identifier: &str) -> Self {
        let copy = self.copy();
        // SAFETY: as above; the text is copied into the context of the tree.
        unsafe {
            let set = copy.node::<pg_sys::VariableSetStmt>();
            for constant in list::iter::<pg_sys::A_Const>((*set).args) {
                (*constant).val.sval.sval = parse_nodes::palloc_text(identifier);
            }
        }
        copy
    }

    /// Whether CONCURRENTLY was specified in a command that then changes the definition in several transactions.
    pub fn is_concurrent(&self) -> bool {
        // SAFETY: the tag says what the node is.
        unsafe {
            match self.tag() {
                NodeTag::T_IndexStmt => (*self.node::<pg_sys::IndexStmt>()).concurrent,
                NodeTag::T_DropStmt => (*self.node::<pg_sys::DropStmt>()).concurrent,
                NodeTag::T_AlterTableStmt => {
                    self.partition_commands().into_iter().any(|command| (*command).concurrent)
                }
                _ => false,
            }
        }
    }

    /// The statement without CONCURRENTLY.
    pub fn not_concurrent(&self) -> Self {
        let copy = self.copy();
        // SAFETY: the tag says what the node is.
        unsafe {
            match copy.tag() {
                NodeTag::T_IndexStmt => (*copy.node::<pg_sys::IndexStmt>()).concurrent = false,
                NodeTag::T_DropStmt => (*copy.node::<pg_sys::DropStmt>()).concurrent = false,
                NodeTag::T_AlterTableStmt => {
                    for command in copy.partition_commands() {
                        (*command).concurrent = false;
                    }
                }
                _ => {}
            }
        }
        copy
    }

    /// The statement with NOT VALID foreign keys, because a shell has no rows to be checked.
    pub fn without_validation(&self) -> Self {
        let copy = self.copy();
        // SAFETY: the tags say what the nodes are.
        unsafe {
            for key in copy.foreign_keys() {
                if !(*key).skip_validation {
                    (*key).skip_validation = true;
                    (*key).initially_valid = true;
                }
            }
        }
        copy
    }

    /// Whether ALTER TABLE adds a foreign key.
    pub fn adds_foreign_key(&self) -> bool {
        !self.foreign_keys().is_empty()
    }

    fn foreign_keys(&self) -> Vec<*mut pg_sys::Constraint> {
        let mut found = Vec::new();
        // SAFETY: the tags say what the nodes are.
        unsafe {
            for command in self.alter_commands() {
                let definition = (*command).def;
                if definition.is_null() {
                    continue;
                }
                let constraints = match (*definition).type_ {
                    NodeTag::T_Constraint => vec![definition.cast::<pg_sys::Constraint>()],
                    NodeTag::T_ColumnDef => {
                        list::members((*definition.cast::<pg_sys::ColumnDef>()).constraints)
                    }
                    _ => continue,
                };
                let foreign = |constraint: &*mut pg_sys::Constraint| {
                    (**constraint).type_ == NodeTag::T_Constraint
                        && (**constraint).contype == pg_sys::ConstrType::CONSTR_FOREIGN
                };
                found.extend(constraints.into_iter().filter(foreign));
            }
        }
        found
    }

    /// Whether ALTER TABLE does nothing but let triggers fire always whose names begin like this.
    pub fn only_enables_always(&self, prefix: &str) -> bool {
        let commands = self.alter_commands();
        !commands.is_empty()
            && commands.into_iter().all(|command| {
                // SAFETY: the commands are valid; this one has the trigger's name.
                unsafe {
                    (*command).subtype == pg_sys::AlterTableType::AT_EnableAlwaysTrig
                        && CStr::from_ptr((*command).name).to_bytes().starts_with(prefix.as_bytes())
                }
            })
    }

    /// A subcommand of ALTER TABLE that cannot be applied to copies of a reference table, if any.
    pub fn alters_what_copies_lack(&self) -> Option<&'static str> {
        use pg_sys::AlterTableType as Kind;
        if self.adds_foreign_key() {
            return Some("adding a foreign key");
        }
        // SAFETY: the commands are valid.
        let kinds = self.alter_commands().into_iter().map(|command| unsafe { (*command).subtype });
        kinds.into_iter().find_map(|kind| match kind {
            Kind::AT_EnableTrig
            | Kind::AT_EnableAlwaysTrig
            | Kind::AT_EnableReplicaTrig
            | Kind::AT_DisableTrig
            | Kind::AT_EnableTrigAll
            | Kind::AT_DisableTrigAll
            | Kind::AT_EnableTrigUser
            | Kind::AT_DisableTrigUser => Some("enabling or disabling triggers"),
            Kind::AT_AddIdentity | Kind::AT_SetIdentity | Kind::AT_DropIdentity => {
                Some("changing an identity column")
            }
            Kind::AT_AddInherit
            | Kind::AT_DropInherit
            | Kind::AT_AttachPartition
            | Kind::AT_DetachPartition => Some("inheritance"),
            Kind::AT_SetLogged | Kind::AT_SetUnLogged => Some("SET LOGGED or SET UNLOGGED"),
            Kind::AT_EnableRowSecurity | Kind::AT_ForceRowSecurity => Some("row-level security"),
            Kind::AT_AddOf | Kind::AT_DropOf => Some("the type of a typed table"),
            _ => None,
        })
    }

    /// Whether ALTER TABLE rewrites or computes values of existing rows.
    pub fn computes_rows(&self) -> bool {
        use pg_sys::AlterTableType as Kind;
        // SAFETY: the commands are valid.
        let kinds = self.alter_commands().into_iter().map(|command| unsafe { (*command).subtype });
        kinds.into_iter().any(|kind| matches!(kind, Kind::AT_AddColumn | Kind::AT_AlterColumnType))
    }

    /// The table and the partition of DETACH PARTITION, also with FINALIZE; the partition is None if it does not exist.
    pub fn detaches(&self) -> Option<(Oid, Option<Oid>)> {
        let kinds = [
            pg_sys::AlterTableType::AT_DetachPartition,
            pg_sys::AlterTableType::AT_DetachPartitionFinalize,
        ];
        let commands = self.alter_commands().into_iter();
        // SAFETY: the tags say what the nodes are.
        unsafe {
            let command =
                commands.into_iter().find(|command| kinds.contains(&(**command).subtype))?;
            let parent = parse_nodes::relation((*self.node::<pg_sys::AlterTableStmt>()).relation)?;
            Some((
                parent,
                parse_nodes::relation((*(*command).def.cast::<pg_sys::PartitionCmd>()).name),
            ))
        }
    }

    /// The indexes listed in DROP INDEX.
    pub fn dropped_indexes(&self) -> Option<Vec<RelationTarget>> {
        if self.tag() != NodeTag::T_DropStmt {
            return None;
        }
        // SAFETY: the tag says what the node is; indexes are dropped by lists of names.
        unsafe {
            let node = self.node::<pg_sys::DropStmt>();
            if (*node).removeType != pg_sys::ObjectType::OBJECT_INDEX {
                return None;
            }
            let index = |name: *mut pg_sys::List| {
                let name = pg_sys::makeRangeVarFromNameList(name);
                RelationTarget {
                    relation: parse_nodes::relation(name),
                    schema: parse_nodes::text((*name).schemaname),
                    name: parse_nodes::text((*name).relname).unwrap_or_default(),
                    columns: Vec::new(),
                    only: false,
                }
            };
            Some(list::iter::<pg_sys::List>((*node).objects).map(index).collect())
        }
    }

    fn partition_commands(&self) -> Vec<*mut pg_sys::PartitionCmd> {
        let partition = |command: *mut pg_sys::AlterTableCmd| {
            // SAFETY: the tag says what the node is.
            unsafe {
                let definition = (*command).def;
                let is_partition =
                    !definition.is_null() && (*definition).type_ == NodeTag::T_PartitionCmd;
                is_partition.then(|| definition.cast::<pg_sys::PartitionCmd>())
            }
        };
        self.alter_commands().into_iter().filter_map(partition).collect()
    }

    fn alter_commands(&self) -> Vec<*mut pg_sys::AlterTableCmd> {
        if self.tag() != NodeTag::T_AlterTableStmt {
            return Vec::new();
        }
        // SAFETY: the tag says what the node is; its commands are all of one kind.
        unsafe { list::members((*self.node::<pg_sys::AlterTableStmt>()).cmds) }
    }
}
