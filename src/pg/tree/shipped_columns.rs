//! The columns of rows that are sent to the node of a statement.

use crate::error::{Error, Result};
use crate::pg::tree::places::Places;
use crate::pg::tree::survey::{expression_tree_walker, query_tree_walker};
use crate::pg::tree::{list, parse_nodes, subqueries};
use pgrx::pg_sys::{self, NodeTag, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::{c_int, c_void};
use std::ptr;

/// A column of rows that are sent.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of_type: Oid,
    pub(super) modifier: i32,
    pub(super) collation: Oid,
}

/// The columns of rows that are sent.
pub(super) struct Columns<'p> {
    places: &'p dyn Places,
    pub(super) all: Vec<Column>,
}

impl<'p> Columns<'p> {
    pub(super) fn new(places: &'p dyn Places) -> Self {
        Self { places, all: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        name: Option<String>,
        of_type: Oid,
        modifier: i32,
        collation: Oid,
    ) -> Result<()> {
        if of_type == pg_sys::RECORDOID || of_type == pg_sys::RECORDARRAYOID {
            return Err(Error::new(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot send anonymous records to another node",
            )
            .hint("Select their fields one by one, or use a named composite type."));
        }
        self.places.check_type(of_type)?;
        // A literal whose type nothing has decided is a text.
        let of_type = if of_type == pg_sys::UNKNOWNOID { pg_sys::TEXTOID } else { of_type };
        let number = self.all.len() + 1;
        let name = name
            .filter(|name| !name.is_empty() && self.all.iter().all(|column| column.name != *name))
            .unwrap_or_else(|| format!("column_{number}"));
        self.all.push(Column { name, of_type, modifier, collation });
        Ok(())
    }

    /// Adds a column to rows without any, which a function cannot give: NULL, in the query as well.
    ///
    /// # Safety
    /// `query` is valid and ours to change.
    pub(super) unsafe fn add_nothing(&mut self, query: *mut pg_sys::Query) -> Result<()> {
        self.add(None, pg_sys::INT4OID, -1, Oid::INVALID)?;
        // SAFETY: by the caller's promise.
        unsafe {
            let number = list::len((*query).targetList) as pg_sys::AttrNumber + 1;
            let value = pg_sys::makeNullConst(pg_sys::INT4OID, -1, Oid::INVALID);
            let name = parse_nodes::palloc_text("column_1");
            let target = pg_sys::makeTargetEntry(value.cast(), number, name, false);
            (*query).targetList = pg_sys::lappend((*query).targetList, target.cast());
        }
        Ok(())
    }

    /// # Safety
    /// In the planner's memory context.
    pub(super) unsafe fn names(&self) -> *mut pg_sys::List {
        let mut names: *mut pg_sys::List = ptr::null_mut();
        for column in &self.all {
            // SAFETY: a complete node.
            unsafe {
                let name = pg_sys::makeString(parse_nodes::palloc_text(&column.name));
                names = pg_sys::lappend(names, name.cast());
            }
        }
        names
    }
}

struct Uses {
    entry: c_int,
    depth: pg_sys::Index,
    columns: Vec<pg_sys::AttrNumber>,
    /// Numbers of the joins in the query, whose columns are those of what they join.
    joins: Vec<c_int>,
    /// A column of a join is used.
    of_joins: bool,
    flags: c_int,
}

/// The columns of an entry that the query uses, at any depth.
///
/// Errors: 0A000 for a system column, or the whole row.
pub(super) unsafe fn used_columns(
    query: *mut pg_sys::Query,
    number: usize,
    relation: Oid,
) -> Result<Vec<pg_sys::AttrNumber>> {
    unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
        if node.is_null() {
            return false;
        }
        // SAFETY: PostgreSQL walks a valid tree; `context` is the Uses below; the casts follow the tags.
        unsafe {
            let uses = &mut *context.cast::<Uses>();
            match (*node).type_ {
                NodeTag::T_Query => {
                    uses.depth += 1;
                    let stopped = query_tree_walker(node.cast(), visit, context, uses.flags);
                    (*context.cast::<Uses>()).depth -= 1;
                    stopped
                }
                NodeTag::T_Var => {
                    let var = &*node.cast::<pg_sys::Var>();
                    if var.varlevelsup == uses.depth
                        && var.varno as c_int == uses.entry
                        && !uses.columns.contains(&var.varattno)
                    {
                        uses.columns.push(var.varattno);
                    }
                    uses.of_joins |=
                        var.varlevelsup == uses.depth && uses.joins.contains(&(var.varno as c_int));
                    false
                }
                _ => expression_tree_walker(node, visit, context),
            }
        }
    }
    // SAFETY: a valid query; the context outlives the walks.
    let uses = unsafe {
        let entries = list::iter::<pg_sys::RangeTblEntry>((*query).rtable).enumerate();
        let joins = entries
            .filter(|&(_, entry)| (*entry).rtekind == pg_sys::RTEKind::RTE_JOIN)
            .map(|(i, _)| i as c_int + 1);
        let mut uses = Uses {
            entry: number as c_int,
            depth: 0,
            columns: Vec::new(),
            joins: joins.collect(),
            of_joins: false,
            flags: pg_sys::QTW_IGNORE_JOINALIASES as c_int,
        };
        query_tree_walker(query, visit, (&raw mut uses).cast(), uses.flags);
        if uses.of_joins {
            uses.flags = 0;
            query_tree_walker(query, visit, (&raw mut uses).cast(), 0);
        }
        uses
    };
    if uses.columns.iter().any(|&column| column <= 0) {
        let name = crate::pg::catalog::names::displayed_relation_name(relation);
        return Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot use system columns or whole rows of table \"{name}\" in a statement that runs on another node"),
        )
        .hint("Name the table's columns one by one, or read it in a subquery that is complete by itself."));
    }
    Ok(uses.columns)
}

/// A literal in a query's columns whose type the statement around it decides.
///
/// # Safety
/// `query` is valid.
pub(super) unsafe fn untyped_literal(
    query: *mut pg_sys::Query,
    column: usize,
) -> Option<*mut pg_sys::Expr> {
    // SAFETY: a valid query; the copy is ours.
    unsafe {
        let mut columns = list::iter::<pg_sys::TargetEntry>(subqueries::columns(query));
        let expression = (*columns.find(|&entry| (*entry).resno as usize == column + 1)?).expr;
        let is_literal = (*expression).type_ == NodeTag::T_Const
            && pg_sys::exprType(expression.cast()) == pg_sys::UNKNOWNOID;
        is_literal.then(|| pg_sys::copyObjectImpl(expression.cast()).cast())
    }
}
