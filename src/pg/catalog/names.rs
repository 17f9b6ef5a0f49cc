//! Names and namespaces of relations and functions.

use crate::pg::tree::{list, parse_nodes};
use pgrx::pg_sys::{self, Oid};
use std::ffi::{CString, c_int};
use std::ptr;

unsafe extern "C-unwind" {
    fn find_all_inheritors(
        relation: Oid,
        lock_mode: c_int,
        parent_counts: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::List;
}

/// The named relation, if it exists.
pub fn relation(schema: &str, name: &str) -> Option<Oid> {
    let (schema, name) = (CString::new(schema).ok()?, CString::new(name).ok()?);
    // SAFETY: both strings are NUL-terminated and outlive the calls, which only do syscache lookups.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if namespace == Oid::INVALID {
            return None;
        }
        let oid = pg_sys::get_relname_relid(name.as_ptr(), namespace);
        (oid != Oid::INVALID).then_some(oid)
    }
}

/// Namespace of a relation, if it exists.
pub fn relation_namespace(relation: Oid) -> Option<Oid> {
    // SAFETY: a syscache lookup.
    let namespace = unsafe { pg_sys::get_rel_namespace(relation) };
    (namespace != Oid::INVALID).then_some(namespace)
}

/// The relation whose rows are of this type, if it is one of that kind.
pub fn relation_of_type(of_type: Oid) -> Option<Oid> {
    // SAFETY: a syscache lookup.
    let relation = unsafe { pg_sys::get_typ_typrelid(of_type) };
    (relation != Oid::INVALID).then_some(relation)
}

/// Namespace of a function, if it exists.
pub fn function_namespace(function: Oid) -> Option<Oid> {
    // SAFETY: a syscache lookup.
    let namespace = unsafe { pg_sys::get_func_namespace(function) };
    (namespace != Oid::INVALID).then_some(namespace)
}

/// The function's unqualified name, if it exists.
pub fn function_local_name(function: Oid) -> Option<String> {
    // SAFETY: a syscache lookup that returns a palloc'd C string or null.
    unsafe { parse_nodes::text(pg_sys::get_func_name(function)) }
}

/// `name()`, for messages.
pub fn displayed_call(function: Oid) -> String {
    let name = function_local_name(function);
    format!("{}()", name.unwrap_or_else(|| format!("function {}", function.to_u32())))
}

/// The function with this name and exactly these argument types, if it exists.
pub fn function(schema: &str, name: &str, arguments: &[Oid]) -> Option<Oid> {
    let count = c_int::try_from(arguments.len()).ok()?;
    // SAFETY: a list of two strings allocated by the server; the types outlive the call.
    let found = unsafe {
        let [schema, name] =
            [schema, name].map(|part| pg_sys::makeString(parse_nodes::palloc_text(part)));
        let names = pg_sys::lappend(ptr::null_mut(), schema.cast());
        let names = pg_sys::lappend(names, name.cast());
        pg_sys::LookupFuncName(names, count, arguments.as_ptr(), true)
    };
    (found != Oid::INVALID).then_some(found)
}

/// Whether the namespace is for temporary relations (of any session).
pub fn is_temporary_namespace(namespace: Oid) -> bool {
    // SAFETY: a syscache lookup.
    unsafe { pg_sys::isAnyTempNamespace(namespace) }
}

/// `schema.relation`, unquoted: for messages only. SQL needs `session::quoted_relation_name`.
pub fn displayed_relation_name(relation: Oid) -> String {
    // SAFETY: syscache lookups that return palloc'd C strings or null.
    unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        let name = pg_sys::get_rel_name(relation);
        match (parse_nodes::text(schema), parse_nodes::text(name)) {
            (Some(schema), Some(name)) => format!("{schema}.{name}"),
            (None, Some(name)) => name,
            _ => format!("relation {}", relation.to_u32()),
        }
    }
}

/// The table of an index; None if the relation is not an index.
pub fn table_of_index(relation: Oid) -> Option<Oid> {
    // SAFETY: syscache lookups.
    unsafe {
        let kind = pg_sys::get_rel_relkind(relation) as u8;
        if kind != pg_sys::RELKIND_INDEX {
            return None;
        }
        let table = pg_sys::IndexGetRelation(relation, true);
        (table != Oid::INVALID).then_some(table)
    }
}

/// The relation's unqualified name, if it exists.
pub fn relation_local_name(relation: Oid) -> Option<String> {
    // SAFETY: a syscache lookup that returns a palloc'd C string or null.
    unsafe { parse_nodes::text(pg_sys::get_rel_name(relation)) }
}

/// Whether the relation is a view.
pub fn is_view(relation: Oid) -> bool {
    // SAFETY: a syscache lookup.
    unsafe { pg_sys::get_rel_relkind(relation) as u8 == pg_sys::RELKIND_VIEW }
}

/// Whether the relation is a partitioned table.
pub fn is_partitioned(relation: Oid) -> bool {
    // SAFETY: a syscache lookup.
    unsafe { pg_sys::get_rel_relkind(relation) as u8 == pg_sys::RELKIND_PARTITIONED_TABLE }
}

/// The relation and its inheritance descendants, including partitions.
pub fn inheritors(relation: Oid) -> Vec<Oid> {
    // SAFETY: a catalog lookup without locks; returns a list of OIDs.
    unsafe {
        let list = pg_sys::ffi::pg_guard_ffi_boundary(|| {
            find_all_inheritors(relation, pg_sys::NoLock as c_int, ptr::null_mut())
        });
        list::oids(list).collect()
    }
}

/// The kind of a relation; None if it does not exist.
pub fn relation_kind(relation: Oid) -> Option<u8> {
    // SAFETY: a syscache lookup.
    let kind = unsafe { pg_sys::get_rel_relkind(relation) } as u8;
    (kind != 0).then_some(kind)
}
