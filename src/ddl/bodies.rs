//! Warns of code that will run on a node and names relations that the node does not have.
//!
//! A name in a function's body is looked up when it is used, so this is no error, and what a body computes is not seen.

use super::statement_scope::StatementScope;
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::executor::absent::{self, Absent};
use crate::pg::catalog::object::{self, Object};
use crate::pg::catalog::{names, references};
use crate::pg::error::notify;
use crate::pg::hooks::object_access::Event;
use crate::pg::session;
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// A function, and a relation that it names and its node does not have.
pub(super) struct Stray {
    function: Object,
    absent: Absent,
}

/// The functions that the command created, or lets something on the node call, and that name a relation which this node
/// does not have.
pub(super) fn strays(scope: &StatementScope, node: NodeId) -> Result<Vec<Stray>> {
    let mut seen: Vec<Object> = Vec::new();
    let mut found = Vec::new();
    for touched in scope.touched.iter().filter(|touched| touched.event != Event::Dropped) {
        let mut called = references::of(touched.object);
        called.push(touched.object);
        for function in called.into_iter().filter(|below| object::is_function(*below)) {
            if seen.contains(&function) || object::is_given(function) {
                continue;
            }
            seen.push(function);
            if let Some(absent) = absent::named_by(function.id, node)? {
                found.push(Stray { function, absent });
            }
        }
    }
    Ok(found)
}

impl Stray {
    /// Raises a WARNING, unless PostgreSQL does not check bodies either.
    pub(super) fn warn(&self, node: NodeId) -> Result<()> {
        if session::setting("check_function_bodies").is_some_and(|value| value == "off") {
            return Ok(());
        }
        let namespace = names::function_namespace(self.function.id);
        let schema = match namespace {
            Some(namespace) if catalog::placement(namespace)?.is_some() => {
                session::namespace_name(namespace)
            }
            _ => None,
        };
        let (name, used) =
            (object::identity(self.function)?.unwrap_or_default(), self.absent.shown());
        let node = &catalog::node(node)?.name;
        let warning = Error::new(
            Code::ERRCODE_WARNING,
            format!("function {name} uses {used}, which is not on node \"{node}\""),
        )
        .detail(format!(
            "The {used} {}. The function fails where it runs on the node: in triggers, and in statements that change rows.",
            self.absent.whereabouts()?
        ))
        .hint(self.absent.remedy(schema.as_deref()));
        notify(PgLogLevel::WARNING, &warning);
        Ok(())
    }
}
