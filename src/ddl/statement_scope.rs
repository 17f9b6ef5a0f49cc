//! What the statements that are being executed have touched so far: a stack, since a statement can run others.
//!
//! Invariant: a frame is there from `before` to `after` of its statement, and is gone once the (sub)transaction in
//! which it began is.

use super::drop_list::Part;
use super::object_placement::{self, Home};
use super::schema::NewSchema;
use super::truncate_triggers;
use crate::catalog::NodeId;
use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::hooks::object_access::{self, Event};
use crate::pg::session;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What is to be done after the server ran the statement.
pub enum Plan {
    /// Forget the schemas that it dropped; nothing else.
    Bookkeeping,
    /// On a node, inside a function: refuse it if it touched what shells must have too.
    Behind,
    /// On a node, from one of its own clients: refuse it if it touched anything of a schema.
    OnNode,
    /// Drop on each node what it has of the list.
    DropList(Vec<Part>),
    /// Lock the tables on their nodes.
    Lock,
    /// Truncate on each node what it has of the list; triggers of shells are on again.
    TruncateReferences { parts: Vec<(NodeId, String)>, silenced: Vec<truncate_triggers::Trigger> },
    /// Send it to the nodes of what it touched; `models` are the tables that a new one is like.
    Touched { models: Vec<Object> },
    /// Send it to every node.
    Everywhere,
    /// Write the new schema into the directory, and make it on its node.
    CreateSchema(NewSchema),
    /// Make the plain schema on every node.
    PlainSchema { text: String },
    /// The directory follows, then the node or nodes.
    RenameSchema { old: String, new: String },
    /// Drop each schema where it is.
    DropSchemas { cascade: bool },
    /// The node makes the rows.
    TableAs { node: NodeId },
    /// Nodes that join the transaction import these snapshots.
    ImportSnapshot(BTreeMap<NodeId, String>),
    /// The parts of the local transaction that was prepared, and is ended now, are ended on their nodes.
    FinishPrepared { transaction: u32 },
}

/// An object that a statement touched.
pub struct Touched {
    /// What happened to it.
    pub event: Event,
    /// Which one.
    pub object: Object,
    /// Where it was, if it is gone now.
    pub home: Option<Home>,
    /// Its name, if it was a schema.
    pub schema: Option<String>,
    /// Whether it was a schema or in one, if it is gone now.
    pub in_schema: bool,
}

/// One statement on its way.
pub struct Frame {
    /// Nesting level of the subtransaction it began in.
    level: i32,
    /// What is to be done at its end.
    pub plan: Plan,
    /// What it touched.
    pub touched: Vec<Touched>,
    /// What statements inside it (of event triggers) have for nodes: it comes after its own.
    pub later: Vec<(NodeId, Vec<u8>)>,
}

impl Frame {
    /// Names of the schemas that it dropped.
    pub fn dropped_schemas(&self) -> Vec<String> {
        let dropped = self.touched.iter().filter(|touched| touched.event == Event::Dropped);
        dropped.filter_map(|touched| touched.schema.clone()).collect()
    }
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn push(plan: Plan) -> usize {
    FRAMES.with_borrow_mut(|frames| {
        frames.push(Frame {
            level: session::nesting_level(),
            plan,
            touched: Vec::new(),
            later: Vec::new(),
        });
        object_access::set_recording(!frames.is_empty());
        frames.len() - 1
    })
}

pub(super) fn pop(frame: usize) -> Frame {
    let popped = FRAMES.with_borrow_mut(|frames| {
        frames.truncate(frame + 1);
        let popped = frames.pop();
        object_access::set_recording(!frames.is_empty());
        popped
    });
    popped.unwrap_or(Frame {
        level: 0,
        plan: Plan::Bookkeeping,
        touched: Vec::new(),
        later: Vec::new(),
    })
}

/// Whether a definition is under way that this one is inside of, as those of event triggers are.
pub(super) fn is_inside() -> bool {
    FRAMES.with_borrow(|frames| !frames.is_empty())
}

/// Keeps a definition for after the statement that this one runs inside of; false if there is none.
pub(super) fn keep_for_later(node: NodeId, text: &[u8]) -> bool {
    FRAMES.with_borrow_mut(|frames| match frames.last_mut() {
        Some(outer) => {
            outer.later.push((node, text.to_vec()));
            true
        }
        None => false,
    })
}

/// Drops the frames of statements that began in a subtransaction of this level or deeper: they failed.
pub fn forget_statements(level: i32) {
    FRAMES.with(|frames| {
        // In the middle of a push or pop nothing raises, so the list is never borrowed here.
        if let Ok(mut frames) = frames.try_borrow_mut() {
            frames.retain(|frame| frame.level < level);
            object_access::set_recording(!frames.is_empty());
        }
    });
}

/// Notes what happened to an object, in the innermost statement.
pub fn record(event: Event, object: Object) -> Result<()> {
    let known = FRAMES.with_borrow(|frames| {
        let touched = frames.last().map(|frame| &frame.touched);
        touched.is_none_or(|all| all.iter().any(|t| t.event == event && t.object == object))
    });
    if known {
        return Ok(());
    }
    let in_schema = event == Event::Dropped && super::on_node::is_in_schema(object);
    let (home, schema) = match event {
        // The parts of an extension go with it.
        Event::Dropped if object::is_part_of_extension(object) => return Ok(()),
        Event::Dropped => {
            let schema = object::as_schema(object).and_then(session::namespace_name);
            (object_placement::of(object)?, schema)
        }
        _ => (None, None),
    };
    FRAMES.with_borrow_mut(|frames| {
        if let Some(frame) = frames.last_mut() {
            frame.touched.push(Touched { event, object, home, schema, in_schema });
        }
    });
    Ok(())
}
