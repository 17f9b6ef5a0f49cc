//! INSERT … SELECT whose rows all come from other places: a COPY of the same rows does the same, and the node can begin with the
//! first one.

use crate::pg::session;
use crate::pg::tree::{QueryTree, insert_source, list, parse_nodes, with_changes};
use pgrx::pg_sys::{self, NodeTag, Oid};
use pgrx::spi::quote_identifier;

/// The COPY that takes the rows of `query`'s SELECT; None if it would not do the same. `sent` is what a node was to run instead of
/// `query`, with calls of `function` in place of what is sent. `is_binary` tells of which types the rows have the binary form.
pub fn text(
    query: QueryTree<'_>,
    sent: QueryTree<'_>,
    function: Oid,
    is_binary: &dyn Fn(Oid) -> bool,
) -> Option<String> {
    // SAFETY: valid queries; the table is locked while it is open.
    unsafe {
        let insert = query.as_ptr();
        if !is_plain(insert) || !is_sent_whole(sent.as_ptr(), function) {
            return None;
        }
        let target = with_changes::target(query)?;
        let table = pg_sys::relation_open(target, pg_sys::NoLock as i32);
        let columns = is_filled_by_copy(table).then(|| columns(insert, table, is_binary)).flatten();
        pg_sys::relation_close(table, pg_sys::NoLock as i32);
        let names: Vec<String> = columns?.iter().map(quote_identifier).collect();
        let table = session::quoted_relation_name(target);
        Some(format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", names.join(", ")))
    }
}

/// Whether a statement is an INSERT that does nothing but insert.
unsafe fn is_plain(query: *mut pg_sys::Query) -> bool {
    // SAFETY: a valid query.
    unsafe {
        let query = &*query;
        query.commandType == pg_sys::CmdType::CMD_INSERT
            && query.override_ == pg_sys::OverridingKind::OVERRIDING_NOT_SET
            && query.returningList.is_null()
            && query.onConflict.is_null()
            && query.cteList.is_null()
            && query.withCheckOptions.is_null()
            && !query.hasRowSecurity
    }
}

/// Whether COPY fills a table as INSERT does: it knows neither rules nor row security.
unsafe fn is_filled_by_copy(table: pg_sys::Relation) -> bool {
    // SAFETY: an open relation.
    unsafe {
        let class = &*(*table).rd_rel;
        matches!(class.relkind as u8, pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE)
            && !class.relrowsecurity
            && !class.relhasrules
    }
}

/// Whether the SELECT of an INSERT was sent as a whole.
unsafe fn is_sent_whole(insert: *mut pg_sys::Query, function: Oid) -> bool {
    // SAFETY: a valid query; the casts follow the kinds of the entries.
    unsafe {
        let Some(given) = insert_source::number(insert).and_then(|n| subquery(insert, n)) else {
            return false;
        };
        let Some(replaced) = subquery(given, 1) else { return false };
        if list::len((*given).rtable) != 1 || list::len((*replaced).rtable) != 1 {
            return false;
        }
        let entry = list::nth::<pg_sys::RangeTblEntry>((*replaced).rtable, 0);
        if (*entry).rtekind != pg_sys::RTEKind::RTE_FUNCTION {
            return false;
        }
        let called = list::nth::<pg_sys::RangeTblFunction>((*entry).functions, 0);
        let call = (*called).funcexpr.cast::<pg_sys::FuncExpr>();
        (*call).xpr.type_ == NodeTag::T_FuncExpr
            && (*call).funcid == function
            && list::iter::<pg_sys::TargetEntry>((*replaced).targetList)
                .enumerate()
                .all(|(i, column)| number_of_var((*column).expr.cast(), 1) == Some(i + 1))
    }
}

unsafe fn subquery(query: *mut pg_sys::Query, number: usize) -> Option<*mut pg_sys::Query> {
    // SAFETY: a valid query; the field belongs to the kind.
    unsafe {
        if number > list::len((*query).rtable) {
            return None;
        }
        let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
        ((*entry).rtekind == pg_sys::RTEKind::RTE_SUBQUERY).then(|| (*entry).subquery)
    }
}

/// The number of the column that an expression is, of the entry with this number.
unsafe fn number_of_var(expression: *mut pg_sys::Node, entry: i32) -> Option<usize> {
    // SAFETY: a valid expression; the cast follows the tag.
    unsafe {
        if (*expression).type_ != NodeTag::T_Var {
            return None;
        }
        let var = &*expression.cast::<pg_sys::Var>();
        let is_of_entry = var.varno == entry && var.varlevelsup == 0;
        usize::try_from(var.varattno).ok().filter(|&number| is_of_entry && number > 0)
    }
}

/// The names of the table's columns in the order of the SELECT's; None if one gets another value than the SELECT gives, and that is
/// not its default.
unsafe fn columns(
    insert: *mut pg_sys::Query,
    table: pg_sys::Relation,
    is_binary: &dyn Fn(Oid) -> bool,
) -> Option<Vec<String>> {
    // SAFETY: a valid INSERT into the open table.
    unsafe {
        let number = insert_source::number(insert)?;
        let select = subquery(insert, number)?;
        let given = list::iter::<pg_sys::TargetEntry>((*select).targetList);
        let given = given.filter(|&column| !(*column).resjunk).count();
        let mut names: Vec<Option<String>> = vec![None; given];
        for entry in insert_source::values(insert) {
            let value = (*entry).expr.cast::<pg_sys::Node>();
            let Some(column) = number_of_var(value, number as i32) else {
                let default = pg_sys::build_column_default(table, i32::from((*entry).resno));
                if default.is_null() || !pg_sys::equal(value.cast(), default.cast()) {
                    return None;
                }
                continue;
            };
            let of_type = pg_sys::get_atttype((*table).rd_id, (*entry).resno);
            let name = names.get_mut(column - 1)?;
            if name.is_some() || pg_sys::exprType(value) != of_type || !is_binary(of_type) {
                return None;
            }
            *name = parse_nodes::text(pg_sys::get_attname((*table).rd_id, (*entry).resno, true));
        }
        let names: Option<Vec<String>> = names.into_iter().collect();
        names.filter(|names| !names.is_empty())
    }
}
