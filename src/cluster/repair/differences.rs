//! Differences between the definitions of a schema on the coordinator and on its node.

use super::lines::{self, Aspect, Line, LocalLine};
use crate::catalog::Placement;
use crate::error::{Error, Result};
use crate::remote::Session;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeSet;

/// A difference, and the action taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub object: String,
    pub difference: String,
    pub action: String,
}

impl Action {
    pub fn new(object: &str, difference: &str, action: &str) -> Self {
        let [object, difference, action] = [object, difference, action].map(str::to_owned);
        Self { object, difference, action }
    }
}

/// The schema to be repaired.
pub struct Subject {
    pub schema: String,
    pub place: Placement,
    /// Name of its node.
    pub node: String,
}

/// Lines that exist on one side only.
pub struct Differences {
    pub here: Vec<LocalLine>,
    pub shells_only: Vec<LocalLine>,
    pub node_only: Vec<Line>,
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.shells_only.is_empty() && self.node_only.is_empty()
    }

    pub fn of(&self, aspect: Aspect) -> impl Iterator<Item = &Line> {
        let shells = self.shells_only.iter().map(|here| &here.line);
        shells.chain(&self.node_only).filter(move |line| line.aspect == aspect)
    }

    /// Objects that differ.
    pub fn objects(&self) -> BTreeSet<String> {
        let shells = self.shells_only.iter().map(|here| &here.line);
        shells.chain(&self.node_only).map(|line| line.object.clone()).collect()
    }

    /// Describes how an object differs.
    pub fn how(&self, object: &str) -> &'static str {
        let is_here = self.here.iter().any(|here| here.line.object == object);
        let is_missing = self.shells_only.iter().any(|here| here.line.object == object);
        let is_there = self.node_only.iter().any(|line| line.object == object);
        match (is_here, is_missing, is_there) {
            (true, true, false) if !object.starts_with("privileges of ") => "missing on the node",
            (false, _, true) if !object.starts_with("privileges of ") => "only on the node",
            _ => "differs",
        }
    }
}

/// Compares the definitions on the coordinator with those on the node.
pub fn differences(subject: &Subject, node: &mut Session) -> Result<Differences> {
    let here = lines::here(&subject.schema)?;
    let there = lines::there(&subject.schema, node)?;
    if !there.iter().any(|line| line.object == "owner of schema") {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("schema \"{}\" is missing on node \"{}\"", subject.schema, subject.node),
        )
        .hint(
            "Restore the node's database from its backup, or drop the schema on the coordinator.",
        ));
    }
    let shells: BTreeSet<&Line> = here.iter().map(|here| &here.line).collect();
    let nodes: BTreeSet<&Line> = there.iter().collect();
    let shells_only = here.iter().filter(|here| !nodes.contains(&here.line)).cloned().collect();
    let node_only = there.iter().filter(|line| !shells.contains(line)).cloned().collect();
    Ok(Differences { shells_only, node_only, here })
}
