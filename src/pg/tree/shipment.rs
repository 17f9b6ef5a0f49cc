//! A statement that changes tables of one node and reads rows of other places: these are sent to the node first, and the
//! statement reads them there by calls of a function.
//!
//! What is sent is a whole subquery where nothing in it refers to the query around it, else a single table. It is a statement
//! of its own, which this server runs.

use crate::error::{Error, Result};
use crate::pg::catalog::types::tuple_attribute;
use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::make::node;
use crate::pg::tree::places::Places;
use crate::pg::tree::shipped_columns::{Columns, untyped_literal, used_columns};
use crate::pg::tree::survey::survey_expression;
use crate::pg::tree::{
    QueryTree, deparse, insert_source, list, parse_nodes, subqueries, with_changes,
};
use pgrx::pg_sys::{self, NodeTag, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr;

/// A statement that runs here as part of another one.
#[derive(Debug, Clone)]
pub struct LocalStatement {
    /// Its text.
    pub sql: Vec<u8>,
    /// Whether it changes or locks rows.
    pub writes: bool,
    /// The types of its columns.
    pub types: Vec<Oid>,
}

/// A statement without what was taken out of it.
pub struct Shipped<'a> {
    /// The statement for the node.
    pub query: QueryTree<'a>,
    /// The statements that give the rows to be sent, in the order of their parameters.
    pub sources: Vec<LocalStatement>,
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

pub(in crate::pg::tree) struct Shipment<'p, R> {
    pub(in crate::pg::tree) places: &'p dyn Places,
    function: Oid,
    next_parameter: i32,
    sources: Vec<LocalStatement>,
    queries: Vec<*mut pg_sys::Query>,
    rules: PhantomData<R>,
}

impl<R: FunctionRules> Shipment<'_, R> {
    /// # Safety
    /// `query` is valid and ours to change.
    unsafe fn take_out_of(&mut self, query: *mut pg_sys::Query) -> Result<()> {
        // SAFETY: by the caller's promise; the casts follow the kinds of the entries.
        unsafe {
            // Subqueries with nothing left to take out; the call in one that was sent is none that a node runs by itself.
            let mut done: Vec<*mut pg_sys::Query> = Vec::new();
            if (*query).commandType == pg_sys::CmdType::CMD_INSERT {
                let source = insert_source::make(query);
                self.ship_values(source)?;
                self.take_out_of(source)?;
                done.push(source);
            }
            for number in subqueries::entries_in_from(query) {
                let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
                if (*entry).rtekind == pg_sys::RTEKind::RTE_VALUES {
                    done.extend(self.ship_list(entry)?);
                }
                if (*entry).rtekind == pg_sys::RTEKind::RTE_NAMEDTUPLESTORE {
                    return Err(cannot_send_transition_table(entry));
                }
                if (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                    && (*query).resultRelation as usize != number
                    && !self.places.has_rows((*entry).relid)?
                {
                    check_not_locked(query, number)?;
                    self.ship_relation(query, number, entry)?;
                }
            }
            for place in subqueries::of(query) {
                if !done.contains(&*place) {
                    self.visit(place)?;
                }
            }
            if (*query).commandType != pg_sys::CmdType::CMD_SELECT {
                self.ship_calls(query)?;
            }
            Ok(())
        }
    }

    /// # Safety
    /// `query` points to a valid query that is ours to change or replace.
    unsafe fn visit(&mut self, query: *mut *mut pg_sys::Query) -> Result<()> {
        // SAFETY: by the caller's promise.
        unsafe {
            if self.places.stays(&survey_expression::<R>((*query).cast()))? {
                return Ok(());
            }
            if subqueries::is_closed(*query) && !self.changes_node(*query)? {
                *query = self.ship(*query)?;
                Ok(())
            } else {
                self.take_out_of(*query)
            }
        }
    }

    /// Whether a query changes rows on the node.
    ///
    /// # Safety
    /// `query` is valid.
    unsafe fn changes_node(&self, query: *mut pg_sys::Query) -> Result<bool> {
        // SAFETY: by the caller's promise.
        let target = unsafe { QueryTree::new(query) }.and_then(with_changes::target);
        target.map_or(Ok(false), |target| self.places.changes_rows(target))
    }

    /// Sends the rows of a whole query; gives the one that takes its place.
    ///
    /// # Safety
    /// `query` is valid and ours to change.
    pub(in crate::pg::tree) unsafe fn ship(
        &mut self,
        query: *mut pg_sys::Query,
    ) -> Result<*mut pg_sys::Query> {
        // SAFETY: by the caller's promise; what is made are complete nodes.
        unsafe {
            let given = list::iter::<pg_sys::TargetEntry>(subqueries::columns(query));
            let given = given.filter(|&entry| !(*entry).resjunk).count();
            subqueries::return_something(query);
            let mut columns = Columns::new(self.places);
            for entry in list::iter::<pg_sys::TargetEntry>(subqueries::columns(query)) {
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
            self.add_source(query, &columns)?;
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
                let value = untyped_literal(query, i).unwrap_or(var.cast());
                let name = parse_nodes::palloc_text(&column.name);
                let target = pg_sys::makeTargetEntry(value, number, name, false);
                (*replacement).targetList =
                    pg_sys::lappend((*replacement).targetList, target.cast());
            }
            Ok(replacement)
        }
    }

    /// # Safety
    /// `query` is valid, and nobody else uses it from now on.
    unsafe fn add_source(
        &mut self,
        query: *mut pg_sys::Query,
        columns: &Columns<'_>,
    ) -> Result<()> {
        // SAFETY: by the caller's promise.
        unsafe {
            let sql = match ((*query).commandType, QueryTree::new(query)) {
                (pg_sys::CmdType::CMD_SELECT, _) | (_, None) => {
                    deparse::deparse(pg_sys::copyObjectImpl(query.cast()).cast())?
                }
                (_, Some(change)) => deparse::rewritten_text(change)?,
            };
            let types = columns.all.iter().map(|column| column.of_type).collect();
            let writes = subqueries::changes_or_locks(query);
            self.sources.push(LocalStatement { sql, writes, types });
        }
        self.queries.push(query);
        Ok(())
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
            // The conditions of policies are added again to the statement that gives the rows.
            (*entry).securityQuals = ptr::null_mut();
            let used = used_columns(query, number, (*entry).relid)?;
            let source = node::<pg_sys::Query>(NodeTag::T_Query);
            (*source).commandType = pg_sys::CmdType::CMD_SELECT;
            (*source).canSetTag = true;
            let table = pg_sys::copyObjectImpl(entry.cast()).cast::<pg_sys::RangeTblEntry>();
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
            let mut columns = Columns::new(self.places);
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
            self.add_source(source, &columns)?;
            self.call(entry, &columns);
            (*(*entry).eref).colnames = columns.names();
        }
        Ok(())
    }

    /// Makes a range table entry one of the function's rows.
    ///
    /// # Safety
    /// `entry` is ours to change.
    unsafe fn call(&mut self, entry: *mut pg_sys::RangeTblEntry, columns: &Columns<'_>) {
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

/// Errors: 0A000 if the query locks the rows of this entry, which are to be sent.
///
/// # Safety
/// `query` is valid, and has an entry of a relation with this number.
unsafe fn check_not_locked(query: *mut pg_sys::Query, number: usize) -> Result<()> {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut locks = list::iter::<pg_sys::RowMarkClause>((*query).rowMarks);
        if !locks.any(|lock| (*lock).rti as usize == number) {
            return Ok(());
        }
        let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
        let name = crate::pg::catalog::names::displayed_relation_name((*entry).relid);
        Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot lock rows of table \"{name}\" in a statement that runs on another node"),
        )
        .hint("List the tables whose rows are to be locked after OF, or lock them in a subquery that is complete by itself."))
    }
}

/// # Safety
/// `entry` is a transition table's.
unsafe fn cannot_send_transition_table(entry: *mut pg_sys::RangeTblEntry) -> Error {
    // SAFETY: by the caller's promise.
    let name = unsafe { parse_nodes::text((*entry).enrname) }.unwrap_or_default();
    Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot read transition table \"{name}\" in a statement that runs on another node"),
    )
    .hint(format!(
        "Copy its rows with CREATE TEMPORARY TABLE … AS SELECT * FROM {name}, and let the statement read that table."
    ))
}
