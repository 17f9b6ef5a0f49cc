// Values that safe code outside of `pg/` might try to keep; the compiler rejects each because it does not live long enough.

use crate::executor::function_rules::KnownFunctions;
use crate::pg::exec::function_call::FunctionCall;
use crate::pg::exec::triggers::TriggerCall;
use crate::pg::ipc::shared_memory::Locked;
use crate::pg::tree::utility_view::CopyView;
use crate::pg::tree::{QueryTree, Survey};

fn a_call_is_not_kept(call: FunctionCall<'_>) -> FunctionCall<'static> {
    call //~ lifetime
}

fn a_triggers_call_is_not_kept<'a>(call: &'a TriggerCall<'a>) -> &'a TriggerCall<'static> {
    call //~ lifetime
}

fn a_query_is_not_kept(query: QueryTree<'_>) -> QueryTree<'static> {
    query //~ lifetime
}

fn what_a_query_touches_does_not_outlive_it(query: QueryTree<'_>) -> Survey<'static> {
    query.survey::<KnownFunctions>() //~ lifetime
}

fn what_defaults_touch_does_not_outlive_the_statement(copy: &CopyView) -> Survey<'static> {
    copy.defaults::<KnownFunctions>(pgrx::pg_sys::Oid::INVALID) //~ lifetime
}

fn a_value_is_not_used_without_its_lock(value: &'static Locked<u32>) -> &'static u32 {
    &value.share() //~ E0515
}

fn a_value_is_not_changed_by_two(value: &'static Locked<[u32; 2]>) {
    let mut guard = value.exclusive();
    let (first, second) = (&mut guard[0], &mut guard[1]); //~ E0499
    std::mem::swap(first, second);
}
