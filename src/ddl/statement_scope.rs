//! What the statements that are being executed have touched so far: a stack, since a statement can run others.
//!
//! Invariant: a scope is there from `before` to `after` of its statement, and is gone once the (sub)transaction in
//! which it began is.

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
    /// What happened to it.
    pub event: Event,
    /// Which one.
    pub object: Object,
    /// Where it was, if it is gone now.
    pub location: Option<Location>,
    /// Its name, if it was a schema.
    pub schema: Option<String>,
    /// Whether it was a schema or in one, if it is gone now.
    pub in_schema: bool,
}

/// One statement on its way.
pub struct StatementScope {
    /// Nesting level of the subtransaction it began in.
    level: i32,
    /// What is to be done at its end.
    pub plan: FollowUp,
    /// What it touched.
    pub touched: Vec<Touched>,
    /// What statements inside it (of event triggers) have for nodes: it comes after its own.
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

/// The server runs the statement; `plan` is followed when it has.
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

/// Whether a definition is under way that this one is inside of, as those of event triggers are.
pub(super) fn is_inside() -> bool {
    SCOPES.with_borrow(|scopes| !scopes.is_empty())
}

/// Keeps a definition for after the statement that this one runs inside of; false if there is none.
pub(super) fn keep_for_later(node: NodeId, text: &[u8]) -> bool {
    SCOPES.with_borrow_mut(|scopes| match scopes.last_mut() {
        Some(outer) => {
            outer.later.push((node, text.to_vec()));
            true
        }
        None => false,
    })
}

/// Drops the scopes of statements that began in a subtransaction of this level or deeper: they failed.
pub fn forget_statements(level: i32) {
    SCOPES.with(|scopes| {
        // In the middle of a push or pop nothing raises, so the list is never borrowed here.
        if let Ok(mut scopes) = scopes.try_borrow_mut() {
            scopes.retain(|scope| scope.level < level);
            object_access::set_recording(!scopes.is_empty());
        }
    });
}

/// Notes what happened to an object, in the innermost statement.
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
        // The parts of an extension go with it.
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
