// Values that safe code outside of `pg/` might try to construct; the compiler rejects each because the fields are private.

use crate::pg::exec::function_call::FunctionCall;
use crate::pg::ipc::shared_memory::Shared;

fn a_call_is_not_made_up() -> FunctionCall<'static> {
    FunctionCall { call: std::ptr::null_mut(), lifetime: std::marker::PhantomData } //~ E0451
}

fn a_guard_is_not_taken_apart(guard: Shared<u32>) {
    let Shared { value, .. } = guard; //~ E0451
    let _ = value;
}
