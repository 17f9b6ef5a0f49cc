// Misuse by safe code outside of `pg/` that the type checker rejects. Each marked line must have the given error.

use crate::pg::catalog::table::{Column, Row, catalog_table};
use crate::pg::exec::function_call::FunctionCall;
use crate::pg::exec::redirected_calls;
use crate::pg::ipc::shared_memory::{Exclusive, Locked, plain_struct};
use crate::pg::tree::QueryTree;
use crate::pg::tree::statement::Statement;

catalog_table! {
    /// A table.
    pub struct OneRow: "helios"."one" {
        pub id: i32,
    }
}
catalog_table! {
    /// Another table.
    pub struct OtherRow: "helios"."other" {
        pub name: String,
    }
}

fn a_row_is_not_read_by_the_columns_of_another_table(row: &Row<'_, OneRow>) {
    let name = Column::<OtherRow, String>::named("name");
    let _ = row.get(name); //~ E0308
}

fn a_row_is_not_read_by_number(row: &Row<'_, OneRow>) {
    let _ = row.values; //~ E0616
}

// A pointer into one process' memory is meaningless in another process.
static TEXT: Locked<String> = Locked::new(c"text"); //~ E0277

plain_struct! {
    struct WithReference {
        text: &'static str, //~ E0277
    }
}

fn a_guard_gives_no_pointer(guard: Exclusive<u32>) {
    let _ = guard.value; //~ E0616
}

fn a_query_is_not_made_from_a_pointer() {
    let _ = QueryTree::new(std::ptr::null_mut()); //~ E0133
}

fn a_statement_is_not_made_at_all() {
    let _ = Statement::new; //~ E0624
}

fn a_call_gives_no_pointer(call: &FunctionCall<'_>) {
    let _ = call.call; //~ E0616
}

fn a_function_of_sql_is_not_called_from_here(call: pgrx::pg_sys::FunctionCallInfo) {
    let _ = redirected_calls::nextval::<crate::hooks::Helios>(call); //~ E0133
}
