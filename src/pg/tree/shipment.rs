//! A statement that changes tables of one node and reads rows of other places: these are sent to the node first, and the
//! statement reads them there by calls of a function.
//!
//! What is sent is a whole subquery where nothing in it refers to the query around it, else a single table. It is a statement
//! of its own, which this server runs.

use crate::error::{Error, Result};
use crate::pg::catalog::types::tuple_attribute;
use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::make::node;
use crate::pg::tree::survey::{
    Survey, expression_tree_walker, query_tree_walker, survey_expression,
};
use crate::pg::tree::{QueryTree, deparse, list, parse_nodes, subqueries};
use pgrx::pg_sys::{self, NodeTag, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

/// Decides what of a statement the node has by itself.
pub trait Places {
    /// Whether the node can run a subquery that touches these things.
    fn stays(&self, survey: &Survey<'_>) -> Result<bool>;
    /// Whether the node has the rows of a relation.
    fn has_rows(&self, relation: Oid) -> Result<bool>;
}

/// A statement without what was taken out of it.
pub struct Shipped<'a> {
    /// The statement for the node.
    pub query: QueryTree<'a>,
    /// The statements that give the rows to be sent, in the order of their parameters.
    pub sources: Vec<Vec<u8>>,
    /// The same as trees.
    pub queries: Vec<QueryTree<'a>>,
}

/// Takes everything out of a copy of `query` that the node does not have. The rows of the first statement taken out are called
/// by parameter `first_parameter`, those of the next one by the next. `function` is what gives them: it takes a bigint.
///
/// Errors: 0A000 for what cannot be sent.
pub fn take_out<'a, R: FunctionRules>(
    query: QueryTree<'a>,
    places: &dyn Places,
    function: Oid,
    first_parameter: i32,
) -> Result<Shipped<'a>> {
    // SAFETY: a valid query; the copy is ours to change, and lives as long as the planner's memory, as the query does.
    unsafe {
        let copy = pg_sys::copyObjectImpl(query.as_ptr().cast()).cast::<pg_sys::Query>();
        let mut shipment = Shipment::<R> {
            places,
            function,
            next_parameter: first_parameter,
            sources: Vec::new(),
            queries: Vec::new(),
            rules: PhantomData,
        };
        shipment.take_out_of(copy)?;
        let query = QueryTree::new(copy).ok_or_else(no_memory)?;
        let queries = shipment.queries.into_iter().filter_map(|query| QueryTree::new(query));
        Ok(Shipped { query, sources: shipment.sources, queries: queries.collect() })
    }
}

fn no_memory() -> Error {
    Error::new(Code::ERRCODE_OUT_OF_MEMORY, "could not copy the statement")
}

struct Shipment<'p, R> {
    places: &'p dyn Places,
    function: Oid,
    next_parameter: i32,
    sources: Vec<Vec<u8>>,
    queries: Vec<*mut pg_sys::Query>,
    rules: PhantomData<R>,
}

impl<R: FunctionRules> Shipment<'_, R> {
    /// # Safety
    /// `query` is valid and ours to change.
    unsafe fn take_out_of(&mut self, query: *mut pg_sys::Query) -> Result<()> {
        // SAFETY: by the caller's promise; the casts follow the kinds of the entries.
        unsafe {
            for number in subqueries::entries_in_from(query) {
                let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
                if (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                    && (*query).resultRelation as usize != number
                    && !self.places.has_rows((*entry).relid)?
                {
                    self.ship_relation(query, number, entry)?;
                }
            }
            for place in subqueries::of(query) {
                self.visit(place)?;
            }
        }
        Ok(())
    }

    /// # Safety
    /// `query` points to a valid query that is ours to change or replace.
    unsafe fn visit(&mut self, query: *mut *mut pg_sys::Query) -> Result<()> {
        // SAFETY: by the caller's promise.
        unsafe {
            if self.places.stays(&survey_expression::<R>((*query).cast()))? {
                return Ok(());
            }
            if subqueries::is_complete(*query) {
                *query = self.ship(*query)?;
                Ok(())
            } else {
                self.take_out_of(*query)
            }
        }
    }

    /// # Safety
    /// `source` is a valid SELECT that nobody else uses.
    unsafe fn add_source(&mut self, source: *mut pg_sys::Query) -> Result<()> {
        // SAFETY: by the caller's promise; deparsing may change the copy.
        unsafe {
            let copy = pg_sys::copyObjectImpl(source.cast()).cast::<pg_sys::Query>();
            self.sources.push(deparse::deparse(copy)?);
        }
        self.queries.push(source);
        Ok(())
    }

    /// Sends a whole query; gives the one that takes its place.
    ///
    /// # Safety
    /// `query` is a valid SELECT.
    unsafe fn ship(&mut self, query: *mut pg_sys::Query) -> Result<*mut pg_sys::Query> {
        // SAFETY: by the caller's promise; what is made are complete nodes.
        unsafe {
            let mut columns = Columns::default();
            for entry in list::iter::<pg_sys::TargetEntry>((*query).targetList) {
                if (*entry).resjunk {
                    continue;
                }
                let expression = (*entry).expr.cast::<pg_sys::Node>();
                columns.add(
                    parse_nodes::text((*entry).resname),
                    pg_sys::exprType(expression),
                    pg_sys::exprTypmod(expression),
                    pg_sys::exprCollation(expression),
                )?;
            }
            let source = pg_sys::copyObjectImpl(query.cast()).cast::<pg_sys::Query>();
            let given = columns.all.len();
            if given == 0 {
                columns.add_nothing(source)?;
            }
            self.add_source(source)?;
            let replacement = node::<pg_sys::Query>(NodeTag::T_Query);
            (*replacement).commandType = pg_sys::CmdType::CMD_SELECT;
            (*replacement).canSetTag = true;
            let entry = node::<pg_sys::RangeTblEntry>(NodeTag::T_RangeTblEntry);
            self.call(entry, &columns);
            (*entry).eref = pg_sys::makeAlias(c"shipped".as_ptr(), columns.names());
            (*entry).alias = pg_sys::makeAlias(c"shipped".as_ptr(), ptr::null_mut());
            (*entry).inFromCl = true;
            (*replacement).rtable = pg_sys::lappend(ptr::null_mut(), entry.cast());
            let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
            (*reference).rtindex = 1;
            let from = pg_sys::lappend(ptr::null_mut(), reference.cast());
            (*replacement).jointree = pg_sys::makeFromExpr(from, ptr::null_mut());
            for (i, column) in columns.all.iter().take(given).enumerate() {
                let number = i as pg_sys::AttrNumber + 1;
                let (of_type, modifier) = (column.of_type, column.modifier);
                let var = pg_sys::makeVar(1, number, of_type, modifier, column.collation, 0);
                let name = parse_nodes::palloc_text(&column.name);
                let target = pg_sys::makeTargetEntry(var.cast(), number, name, false);
                (*replacement).targetList =
                    pg_sys::lappend((*replacement).targetList, target.cast());
            }
            Ok(replacement)
        }
    }

    /// Sends a table's rows: its columns keep their numbers, and those that nobody uses are NULL.
    ///
    /// # Safety
    /// `entry` is a relation, with this number in the query, which is valid and ours to change.
    unsafe fn ship_relation(
        &mut self,
        query: *mut pg_sys::Query,
        number: usize,
        entry: *mut pg_sys::RangeTblEntry,
    ) -> Result<()> {
        // SAFETY: by the caller's promise; the relation is locked.
        unsafe {
            let used = used_columns(query, number, (*entry).relid)?;
            let source = node::<pg_sys::Query>(NodeTag::T_Query);
            (*source).commandType = pg_sys::CmdType::CMD_SELECT;
            (*source).canSetTag = true;
            let table = pg_sys::copyObjectImpl(entry.cast()).cast::<pg_sys::RangeTblEntry>();
            (*table).securityQuals = ptr::null_mut();
            (*table).rellockmode = pg_sys::AccessShareLock as c_int;
            #[cfg(not(feature = "pg15"))]
            {
                (*table).perminfoindex = 0;
            }
            (*source).rtable = pg_sys::lappend(ptr::null_mut(), table.cast());
            let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
            (*reference).rtindex = 1;
            let from = pg_sys::lappend(ptr::null_mut(), reference.cast());
            (*source).jointree = pg_sys::makeFromExpr(from, ptr::null_mut());
            let mut columns = Columns::default();
            let opened = pg_sys::relation_open((*entry).relid, pg_sys::NoLock as c_int);
            let descriptor = (*opened).rd_att;
            for i in 0..(*descriptor).natts as usize {
                let attribute = &*tuple_attribute(descriptor, i);
                let (of_type, modifier, collation) = if attribute.attisdropped {
                    (pg_sys::INT4OID, -1, Oid::INVALID)
                } else {
                    (attribute.atttypid, attribute.atttypmod, attribute.attcollation)
                };
                let name = parse_nodes::text(attribute.attname.data.as_ptr());
                let is_used = used.contains(&attribute.attnum) && !attribute.attisdropped;
                // A type that the node may not have is not named for nothing.
                let (of_type, modifier, collation) = if is_used {
                    (of_type, modifier, collation)
                } else {
                    (pg_sys::INT4OID, -1, Oid::INVALID)
                };
                columns.add(
                    name.filter(|_| !attribute.attisdropped),
                    of_type,
                    modifier,
                    collation,
                )?;
                let value: *mut pg_sys::Expr = if is_used {
                    pg_sys::makeVar(1, attribute.attnum, of_type, modifier, collation, 0).cast()
                } else {
                    pg_sys::makeNullConst(of_type, modifier, collation).cast()
                };
                let name = parse_nodes::palloc_text(&columns.all[i].name);
                let target = pg_sys::makeTargetEntry(value, attribute.attnum, name, false);
                (*source).targetList = pg_sys::lappend((*source).targetList, target.cast());
            }
            pg_sys::relation_close(opened, pg_sys::NoLock as c_int);
            if columns.all.is_empty() {
                columns.add_nothing(source)?;
            }
            self.add_source(source)?;
            self.call(entry, &columns);
            (*(*entry).eref).colnames = columns.names();
        }
        Ok(())
    }

    /// Makes a range table entry one of the function's rows.
    ///
    /// # Safety
    /// `entry` is ours to change.
    unsafe fn call(&mut self, entry: *mut pg_sys::RangeTblEntry, columns: &Columns) {
        // SAFETY: by the caller's promise; what is made are complete nodes.
        unsafe {
            let parameter = node::<pg_sys::Param>(NodeTag::T_Param);
            (*parameter).paramkind = pg_sys::ParamKind::PARAM_EXTERN;
            (*parameter).paramid = self.next_parameter;
            (*parameter).paramtype = pg_sys::INT8OID;
            (*parameter).paramtypmod = -1;
            (*parameter).location = -1;
            self.next_parameter += 1;
            let arguments = pg_sys::lappend(ptr::null_mut(), parameter.cast());
            let call = pg_sys::makeFuncExpr(
                self.function,
                pg_sys::RECORDOID,
                arguments,
                Oid::INVALID,
                Oid::INVALID,
                pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
            );
            (*call).funcretset = true;
            let function = node::<pg_sys::RangeTblFunction>(NodeTag::T_RangeTblFunction);
            (*function).funcexpr = call.cast();
            (*function).funccolcount = columns.all.len() as c_int;
            for column in &columns.all {
                let name = pg_sys::makeString(parse_nodes::palloc_text(&column.name));
                (*function).funccolnames = pg_sys::lappend((*function).funccolnames, name.cast());
                (*function).funccoltypes =
                    pg_sys::lappend_oid((*function).funccoltypes, column.of_type);
                (*function).funccoltypmods =
                    pg_sys::lappend_int((*function).funccoltypmods, column.modifier);
                (*function).funccolcollations =
                    pg_sys::lappend_oid((*function).funccolcollations, column.collation);
            }
            (*entry).rtekind = pg_sys::RTEKind::RTE_FUNCTION;
            (*entry).relid = Oid::INVALID;
            (*entry).relkind = 0;
            (*entry).rellockmode = 0;
            (*entry).inh = false;
            (*entry).tablesample = ptr::null_mut();
            (*entry).securityQuals = ptr::null_mut();
            (*entry).functions = pg_sys::lappend(ptr::null_mut(), function.cast());
            #[cfg(feature = "pg15")]
            {
                (*entry).requiredPerms = 0;
            }
            #[cfg(not(feature = "pg15"))]
            {
                (*entry).perminfoindex = 0;
            }
        }
    }
}

struct Column {
    name: String,
    of_type: Oid,
    modifier: i32,
    collation: Oid,
}

/// The columns of rows that are sent.
#[derive(Default)]
struct Columns {
    all: Vec<Column>,
}

impl Columns {
    fn add(
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
    unsafe fn add_nothing(&mut self, query: *mut pg_sys::Query) -> Result<()> {
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
    unsafe fn names(&self) -> *mut pg_sys::List {
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
unsafe fn used_columns(
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
