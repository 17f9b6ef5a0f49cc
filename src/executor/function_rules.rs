//! Rules about functions for the survey of queries: which functions are specific to a server, which access a relation's
//! data, and which calls are redirected.

use super::{redirect, server_functions};
use crate::pg::tree::function_rules::{FunctionRules, RelationAccess};
use pgrx::pg_sys::Oid;

/// The extension's rules for functions.
pub struct KnownFunctions;

impl FunctionRules for KnownFunctions {
    #[inline]
    fn is_bound(function: Oid) -> bool {
        server_functions::scope_of(function).is_some()
    }
    #[inline]
    fn relation_access(function: Oid) -> Option<RelationAccess> {
        server_functions::relation_access(function)
    }
    #[inline]
    fn is_redirected(function: Oid) -> bool {
        redirect::applies_to(function)
    }
    #[inline]
    fn original(function: Oid) -> Oid {
        redirect::original(function)
    }
    fn target(function: Oid) -> Option<Oid> {
        redirect::target(function)
    }
    fn target_of_name(name: &str) -> Option<(&'static str, &'static str)> {
        redirect::target_of_name(name)
    }
}
