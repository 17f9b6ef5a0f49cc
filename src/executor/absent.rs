//! Relations that code on a node names and that the node does not have: plain tables of this server, temporary tables
//! of the session, and tables of schemas on other nodes.
//!
//! Names are looked up as the current user, so that nothing is told that the user could not find out.

use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::function_body;
use crate::pg::catalog::object;
use crate::pg::catalog::recorded;
use crate::pg::catalog::{names, privileges, references};
use crate::pg::hooks::invalidation;
use crate::pg::ipc::wait::check_for_interrupts;
use crate::pg::session;
use helios_core::body::{self, Named};
use helios_core::lex::Rules;
use helios_core::quote;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::cell::RefCell;
use std::collections::HashMap;

/// A relation that a node does not have.
pub struct Absent {
    /// Its qualified name, quoted as needed.
    name: String,
    /// Its `relkind`.
    kind: u8,
    place: Place,
}

enum Place {
    Coordinator,
    Session,
    Node(NodeId, String),
}

impl Absent {
    /// What it is and its name, for messages.
    pub fn shown(&self) -> String {
        let kind = match self.kind {
            _ if matches!(self.place, Place::Session) => "temporary table",
            b'S' => "sequence",
            b'v' => "view",
            b'm' => "materialized view",
            b'f' => "foreign table",
            _ => "table",
        };
        format!("{kind} {}", self.name)
    }

    /// Where it is, for messages.
    pub fn whereabouts(&self) -> Result<String> {
        Ok(match &self.place {
            Place::Coordinator => "is on the coordinator".to_owned(),
            Place::Session => "belongs to the session on the coordinator".to_owned(),
            Place::Node(node, _) => format!("is on node \"{}\"", catalog::node(*node)?.name),
        })
    }

    /// What to do, so that code of this schema on a node can use it.
    pub fn remedy(&self, schema: Option<&str>) -> String {
        let name = &self.name;
        let own = schema
            .map_or("the schema of the code".to_owned(), |schema| format!("schema \"{schema}\""));
        match (&self.place, self.kind) {
            (Place::Node(_, other), _) => format!(
                "Bring both schemas to one node: SELECT helios_colocate({}, {});",
                schema.map_or("…".to_owned(), quote::literal),
                quote::literal(other)
            ),
            (Place::Session, _) => {
                format!("Use a permanent table in {own} instead, or pass the rows as an argument.")
            }
            (Place::Coordinator, b'r') => format!(
                "Make it a reference table, which every node has: SELECT helios_create_reference_table({});",
                quote::literal(name)
            ),
            (Place::Coordinator, b'S') => {
                format!("Create a sequence in {own} and use that one.")
            }
            (Place::Coordinator, b'v' | b'm') => format!("Create the view in {own}."),
            (Place::Coordinator, _) => format!("Create the table in {own}."),
        }
    }
}

/// The named relation, if it exists and this node does not have it.
fn find(named: &Named, path: Option<&str>, node: NodeId) -> Result<Option<Absent>> {
    match look_up(named, path) {
        Some(relation) => absent_from(node, relation),
        None => Ok(None),
    }
}

fn absent_from(node: NodeId, relation: Oid) -> Result<Option<Absent>> {
    if object::is_given(object::of_relation(relation)) {
        return Ok(None);
    }
    let Some(namespace) = names::relation_namespace(relation) else { return Ok(None) };
    let place = if names::is_temporary_namespace(namespace) {
        Place::Session
    } else if let Some(placement) = catalog::any_placement(namespace)? {
        if placement.node == node {
            return Ok(None);
        }
        Place::Node(placement.node, session::namespace_name(namespace).unwrap_or_default())
    } else if catalog::is_reference(relation)? {
        return Ok(None);
    } else {
        Place::Coordinator
    };
    let Some(kind) = names::relation_kind(relation) else { return Ok(None) };
    let name = session::quoted_relation_name(relation);
    Ok(Some(Absent { name, kind, place }))
}

fn look_up(named: &Named, path: Option<&str>) -> Option<Oid> {
    let within = |schema: &str| {
        let namespace = session::namespace(schema)?;
        privileges::may_use_schema(namespace).then(|| names::relation(schema, &named.name))?
    };
    match (&named.schema, path) {
        (Some(schema), _) => within(schema),
        (None, Some(path)) => quote::identifiers(path).iter().find_map(|schema| within(schema)),
        (None, None) => recorded::visible_relation(&named.name).map(|object| object.id),
    }
}

/// Number of names in a function's body that are looked up; those behind them are not seen.
const MOST_NAMES: usize = 1000;

/// The first relation that a function's body names and that this node does not have.
pub fn named_by(function: Oid, node: NodeId) -> Result<Option<Absent>> {
    let Some(body) = function_body::of(function) else { return Ok(None) };
    // What a body depends on that was parsed when the function was created is on record.
    for below in references::of(object::of_function(function)) {
        if object::is_relation(below)
            && let Some(absent) = absent_from(node, below.id)?
        {
            return Ok(Some(absent));
        }
    }
    for named in body::relations(body.text.as_bytes(), rules()).into_iter().take(MOST_NAMES) {
        check_for_interrupts();
        if let Some(absent) = find(&named, body.search_path.as_deref(), node)? {
            return Ok(Some(absent));
        }
    }
    Ok(None)
}

fn rules() -> Rules {
    let setting = session::setting("standard_conforming_strings");
    Rules { standard_conforming_strings: setting.is_none_or(|value| value == "on") }
}

/// All that the verdict on a function depends on.
#[derive(PartialEq, Eq)]
struct Known {
    changes: (u64, u64, u64, (u64, u64)),
    user: Oid,
    path: Vec<Oid>,
}

/// Whether functions name relations that a node does not have, for one state of what is known.
#[derive(Default)]
struct Verdicts {
    known: Option<Known>,
    by_function: HashMap<(Oid, i32), bool>,
}

thread_local! {
    static VERDICTS: RefCell<Verdicts> = RefCell::default();
}

/// Whether a function's body names a relation that this node does not have, so that it can only run here.
pub fn needs_this_server(function: Oid, node: NodeId) -> Result<bool> {
    let changes = (
        function_body::changes(),
        invalidation::epoch(),
        invalidation::relations(),
        catalog::generation(),
    );
    let known = Known { changes, user: privileges::current_user(), path: recorded::search_path() };
    let key = (function, node.0);
    let verdict = VERDICTS.with_borrow_mut(|verdicts| {
        if verdicts.known.as_ref() != Some(&known) {
            verdicts.by_function.clear();
            verdicts.known = Some(known);
        }
        verdicts.by_function.get(&key).copied()
    });
    if let Some(verdict) = verdict {
        return Ok(verdict);
    }
    let verdict = named_by(function, node)?.is_some();
    VERDICTS.with_borrow_mut(|verdicts| verdicts.by_function.insert(key, verdict));
    Ok(verdict)
}

/// Whether one of these functions can only run here, rather than on this node.
pub fn any_needs_this_server(functions: &[Oid], node: NodeId) -> Result<bool> {
    for &function in functions {
        if needs_this_server(function, node)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds to a node's error about a relation that does not exist there where the relation is, and what to do. The
/// statement uses these namespaces of the node.
pub fn explain(error: Error, mut namespaces: impl Iterator<Item = Oid>) -> Error {
    if !is_about_relation(&error) {
        return error;
    }
    let Some(namespace) = namespaces.next() else { return error };
    match catalog::placement(namespace) {
        Ok(Some(placement)) => {
            explain_on(error, placement.node, session::namespace_name(namespace).as_deref())
        }
        _ => error,
    }
}

fn is_about_relation(error: &Error) -> bool {
    error.is(Code::ERRCODE_UNDEFINED_TABLE) && error.fields().detail.is_none()
}

/// Like [`explain`], for the code of a schema on this node.
pub fn explain_on(error: Error, node: NodeId, schema: Option<&str>) -> Error {
    if !is_about_relation(&error) {
        return error;
    }
    let Some(named) = named_in(&error) else { return error };
    let explained = || -> Result<Option<(String, String)>> {
        let Some(absent) = find(&named, None, node)? else { return Ok(None) };
        let detail = format!(
            "The code runs on node \"{}\", but {} {}.",
            catalog::node(node)?.name,
            absent.shown(),
            absent.whereabouts()?
        );
        Ok(Some((detail, absent.remedy(schema))))
    };
    match explained() {
        Ok(Some((detail, hint))) => error.detail(detail).hint(hint),
        _ => error,
    }
}

/// The name in the message, between quotation marks of any language: qualified without further quotes.
fn named_in(error: &Error) -> Option<Named> {
    let message = String::from_utf8_lossy(&error.fields().message);
    let marks = ['"', '“', '”', '„', '«', '»'];
    let (_, rest) = message.split_once(marks)?;
    let (name, _) = rest.split_once(marks)?;
    let name = name.trim();
    Some(match name.split_once('.') {
        Some((schema, name)) => Named { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => Named { schema: None, name: name.to_owned() },
    })
}
