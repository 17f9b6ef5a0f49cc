//! The objects touched so far by the commands being executed: a stack, because commands can be nested.
//!
//! Invariant: a scope exists from `before` to `after` of its command, and is removed when the (sub)transaction in which
//! it began ends.

use super::follow_up::FollowUp;
use super::object_location::{self, Location};
use crate::catalog::NodeId;
use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::hooks::object_access::{self, Event};
use crate::pg::hooks::utility::Step;
use crate::pg::session;
use crate::pg::tree::statement::Statement;
use std::cell::RefCell;

/// An object that a statement touched.
pub struct Touched {
    /// The kind of event.
    pub event: Event,
    /// The object.
    pub object: Object,
    /// Its location, if it no longer exists.
    pub location: Option<Location>,
    /// Its name, if it was a schema.
    pub schema: Option<String>,
    /// Whether it was a schema or in one, if it no longer exists.
    pub in_schema: bool,
}

/// A command being executed.
pub struct StatementScope {
    /// Nesting level of the subtransaction in which it began.
    level: i32,
    /// What is to be done at its end.
    pub plan: FollowUp,
    /// The objects that it touched.
    pub touched: Vec<Touched>,
    /// DDL for nodes from nested commands (of event triggers), to be sent after its own.
    pub later: Vec<(NodeId, Vec<u8>)>,
}

impl StatementScope {
    /// Names of the schemas that it dropped.
    pub fn dropped_schemas(&self) -> Vec<String> {
        let dropped = self.touched.iter().filter(|touched| touched.event == Event::Dropped);
        dropped.filter_map(|touched| touched.schema.clone()).collect()
    }
}

thread_local! {
    static SCOPES: RefCell<Vec<StatementScope>> = const { RefCell::new(Vec::new()) };
}

/// Lets the server run the command; `plan` is carried out afterwards.
pub(super) fn begin(statement: Statement, plan: FollowUp) -> Step {
    Step { frame: Some(push(plan)), ..Step::pass(statement) }
}

fn push(plan: FollowUp) -> usize {
    SCOPES.with_borrow_mut(|scopes| {
        scopes.push(StatementScope {
            level: session::nesting_level(),
            plan,
            touched: Vec::new(),
            later: Vec::new(),
        });
        object_access::set_recording(!scopes.is_empty());
        scopes.len() - 1
    })
}

pub(super) fn pop(scope: usize) -> StatementScope {
    let popped = SCOPES.with_borrow_mut(|scopes| {
        scopes.truncate(scope + 1);
        let popped = scopes.pop();
        object_access::set_recording(!scopes.is_empty());
        popped
    });
    popped.unwrap_or(StatementScope {
        level: 0,
        plan: FollowUp::Bookkeeping,
        touched: Vec::new(),
        later: Vec::new(),
    })
}

/// Whether this command is nested in another DDL command, like those of event triggers.
pub(super) fn is_inside() -> bool {
    SCOPES.with_borrow(|scopes| !scopes.is_empty())
}

/// Queues a command to be sent after the enclosing one; false if there is none.
pub(super) fn keep_for_later(node: NodeId, text: &[u8]) -> bool {
    SCOPES.with_borrow_mut(|scopes| match scopes.last_mut() {
        Some(outer) => {
            outer.later.push((node, text.to_vec()));
            true
        }
        None => false,
    })
}

/// Removes the scopes of commands that began in a subtransaction of this level or deeper, because they failed.
pub fn forget_statements(level: i32) {
    SCOPES.with(|scopes| {
        // No error can be raised while the list is borrowed, so it is never borrowed here.
        if let Ok(mut scopes) = scopes.try_borrow_mut() {
            scopes.retain(|scope| scope.level < level);
            object_access::set_recording(!scopes.is_empty());
        }
    });
}

/// Records an event on an object in the innermost command.
pub fn record(event: Event, object: Object) -> Result<()> {
    let known = SCOPES.with_borrow(|scopes| {
        let touched = scopes.last().map(|scope| &scope.touched);
        touched.is_none_or(|all| all.iter().any(|t| t.event == event && t.object == object))
    });
    if known {
        return Ok(());
    }
    let in_schema = event == Event::Dropped && object_location::is_in_schema(object);
    let (location, schema) = match event {
        // Members of an extension are dropped with it.
        Event::Dropped if object::is_part_of_extension(object) => return Ok(()),
        Event::Dropped => {
            let schema = object::as_schema(object).and_then(session::namespace_name);
            (object_location::of(object)?, schema)
        }
        _ => (None, None),
    };
    SCOPES.with_borrow_mut(|scopes| {
        if let Some(scope) = scopes.last_mut() {
            scope.touched.push(Touched { event, object, location, schema, in_schema });
        }
    });
    Ok(())
}
