//! All upcalls from PostgreSQL: its hooks, the callbacks registered with it, and the functions that
//! it looks up in the library by name.
//!
//! Each file has a trait for the extension's part, and the functions called by PostgreSQL, which are generic over the
//! implementor of that trait: the compiler resolves them in [`install`] and `entry_points!`, and nothing is looked up
//! when a hook is called. The only implementor is in the crate's `hooks.rs`; start reading there.
//!
//! Invariant: a hook is a plain function without a guard around PostgreSQL's own code, so that errors raised by the
//! server pass through with all their fields; the extension's part runs in a separate trampoline. Previously installed
//! hooks are called, too.

pub mod entry_points;
pub mod executor;
pub mod function_calls;
pub mod invalidation;
pub mod object_access;
pub mod planner;
pub mod run_by;
pub mod scanner;
pub mod utility;

use crate::pg::catalog::types;
use crate::pg::exec::{copy_change, evaluate, redirected_calls};
use crate::pg::session::{acting, xact};
use crate::pg::tree::masked_names;

/// Everything that PostgreSQL calls the extension for.
pub trait Hooks:
    planner::PlannerHooks
    + executor::ExecutorHooks
    + utility::UtilityHooks
    + object_access::ObjectHooks
    + function_calls::FunctionHooks
    + xact::TransactionHooks
    + evaluate::EvaluateHooks
    + redirected_calls::RedirectHooks
    + copy_change::CopyChangeHooks
{
}

/// Installs all hooks and callbacks; once, from `_PG_init`, while the postmaster loads its libraries.
///
/// Transaction callbacks are called in the reverse order of their registration: the extension's own come first.
pub fn install<H: Hooks>() {
    invalidation::install();
    crate::pg::catalog::function_body::install();
    types::install();
    masked_names::install();
    acting::install();
    object_access::install::<H>();
    xact::install::<H>();
    utility::install::<H>();
    planner::install::<H>();
    executor::install::<H>();
}
