//! Which nodes a definition goes to, and sending it there.

use super::object_placement::{self, Home};
use super::statement_scope::{Frame, Plan};
use super::{dependencies, expressions, extension, large_objects, names_in_text, send, then};
use crate::catalog::{self, NodeId};
use crate::error::{self, Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::object::{self, Object};
use crate::pg::hooks::object_access::Event;
use crate::pg::hooks::utility::Step;
use crate::pg::session;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::statement_names::Granted;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::pg_sys::{NodeTag, Oid};
use std::collections::BTreeMap;

/// Where a statement has to run besides this server.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    Here,
    Node(NodeId),
    All,
}

/// The homes of what a statement touched.
#[derive(Default)]
pub(super) struct Homes {
    /// Nodes, with one schema on each.
    nodes: BTreeMap<NodeId, String>,
    /// A relation of this server alone.
    here: Option<String>,
    /// Something that tenants share was touched.
    everywhere: bool,
}

impl Homes {
    pub(super) fn add(&mut self, home: Home) {
        match home {
            Home::Node(place, schema) => {
                self.nodes.entry(place.node).or_insert(schema);
            }
            Home::Here(name) => self.here = Some(name),
            Home::Everywhere => self.everywhere = true,
        }
    }

    fn reach(&self) -> Reach {
        match self.nodes.first_key_value() {
            _ if self.everywhere => Reach::All,
            Some((node, _)) => Reach::Node(*node),
            None => Reach::Here,
        }
    }

    /// An error if the statement cannot be run at one place.
    fn check(&self) -> Result<()> {
        let places = self.nodes.len() + usize::from(self.here.is_some());
        if places > 1 { Err(self.refusal()?) } else { Ok(()) }
    }

    /// As [`Self::check`], for names in the statement's text: what tenants share is no part of one place either.
    fn check_named(&self) -> Result<()> {
        let places =
            self.nodes.len() + usize::from(self.here.is_some()) + usize::from(self.everywhere);
        if places > 1 { Err(self.refusal()?) } else { Ok(()) }
    }

    pub(super) fn refusal(&self) -> Result<Error> {
        let mut parts = Vec::new();
        for (node, schema) in &self.nodes {
            let node = catalog::node(*node)?;
            parts.push(format!("schema \"{schema}\" lives on node \"{}\"", node.name));
        }
        if let Some(name) = &self.here {
            parts.push(format!("{name} is on this server"));
        }
        if self.everywhere {
            parts.push("the rest is on every node".into());
        }
        Ok(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "a definition cannot reach over several nodes",
        )
        .detail(format!("{}.", error::capitalized(&parts.join(", "))))
        .hint("Use one statement for each schema."))
    }
}

/// What can be known before anything is done.
pub(super) fn before(statement: &Statement) -> Result<Step> {
    match statement.tag() {
        NodeTag::T_DropOwnedStmt | NodeTag::T_ReassignOwnedStmt | NodeTag::T_GrantRoleStmt => {
            return Ok(then(*statement, Plan::Everywhere));
        }
        _ => {}
    }
    for object in statement.published() {
        if let Some(Home::Node(place, schema)) = object_placement::of(object)? {
            let node = catalog::node(place.node)?;
            return Err(Error::new(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("tables of schema \"{schema}\" cannot be published from here"),
            )
            .detail(format!("Their rows are on node \"{}\".", node.name))
            .hint("Make the publication on the node."));
        }
    }
    if let Some((object, schema)) = statement.set_schema() {
        check_move(object, &schema)?;
    }
    let mut homes = Homes::default();
    for object in statement.named() {
        if let Some(home) = object_placement::of_named(object)? {
            homes.add(home);
        }
    }
    homes.check_named()?;
    if homes.nodes.is_empty() {
        expressions::check_rewrite(statement)?;
    }
    let shell = !homes.nodes.is_empty() && statement.adds_foreign_key();
    let run = if shell { statement.without_validation() } else { *statement };
    Ok(then(run, Plan::Touched { models: statement.models() }))
}

/// Sends what the server has run to where it belongs.
pub(super) fn after(frame: &Frame, models: &[Object], statement: &Statement) -> Result<()> {
    if !catalog::in_use() {
        return Ok(());
    }
    extension::check(frame, statement)?;
    let reach = match statement.granted() {
        Some(granted) => reach_of_grant(granted, statement)?,
        None => reach_of(frame, models, statement)?,
    };
    match reach {
        Reach::Here => Ok(()),
        Reach::Node(node) => {
            names_in_text::check(statement, Some(node))?;
            large_objects::check(statement)?;
            send::own(node, statement)
        }
        Reach::All if statement.tag() == NodeTag::T_CreateFunctionStmt => {
            send::function_to_all(statement)
        }
        Reach::All => {
            names_in_text::check(statement, None)?;
            send::own_to_all(statement)
        }
    }
}

/// An error if what was made rests on relations of another place.
pub(super) fn check(frame: &Frame, statement: &Statement) -> Result<()> {
    reach_of(frame, &[], statement).map(|_| ())
}

fn reach_of(frame: &Frame, models: &[Object], statement: &Statement) -> Result<Reach> {
    let (mut made, mut gone) = (Homes::default(), Homes::default());
    for touched in &frame.touched {
        match touched.event {
            Event::Dropped => {
                if let Some(home) = touched.home.clone() {
                    gone.add(home);
                }
            }
            Event::Created | Event::Altered => {
                dependencies::check(touched.object)?;
                match object_placement::of(touched.object)? {
                    // It has lost what it had of a relation of this server, and looks like something shared now.
                    Some(Home::Everywhere) if statement.tag() == NodeTag::T_DropStmt => {}
                    Some(home) => made.add(home),
                    None => {}
                }
            }
        }
    }
    // After a DROP its names mean what is next in the search path; what it dropped has been noted.
    let named = match statement.tag() {
        NodeTag::T_DropStmt => Vec::new(),
        _ => statement.named(),
    };
    for object in named {
        if let Some(home) = object_placement::of_named(object)? {
            made.add(home);
        }
    }
    // A table of this server may be like one elsewhere, but not the other way round.
    for object in models {
        match object_placement::of_named(*object)? {
            Some(Home::Everywhere) | None => {}
            Some(home) if !made.nodes.is_empty() && !object::is_given(*object) => made.add(home),
            Some(_) => {}
        }
    }
    // What tenants share may pull things down or along in many places; all else is one place's business.
    if !(made.everywhere || gone.everywhere)
        || statement.tag() == NodeTag::T_AlterDefaultPrivilegesStmt
    {
        made.check()?;
        let mut both = made.nodes.clone();
        both.extend(gone.nodes.clone());
        Homes { nodes: both, here: made.here.clone(), everywhere: false }.check()?;
    }
    if statement.tag() == NodeTag::T_AlterDefaultPrivilegesStmt
        && made.everywhere
        && !made.nodes.is_empty()
    {
        return Err(made.refusal()?);
    }
    Ok(match made.reach() {
        Reach::Here => gone.reach(),
        reach if gone.everywhere && reach != Reach::All => Reach::All,
        reach => reach,
    })
}

fn reach_of_grant(granted: Granted, statement: &Statement) -> Result<Reach> {
    let mut homes = Homes::default();
    match granted {
        Granted::Objects(objects) => {
            for object in objects {
                if let Some(home) = object_placement::of_named(object)? {
                    homes.add(home);
                }
            }
        }
        Granted::RelationsIn(schemas) => {
            for schema in schemas {
                match object_placement::of(object::of_schema(schema))? {
                    Some(Home::Everywhere) if has_references(schema)? => homes.everywhere = true,
                    Some(Home::Everywhere) | None => {
                        homes.here = session::namespace_name(schema);
                    }
                    Some(home) => homes.add(home),
                }
            }
        }
        Granted::RoutinesIn(schemas) => {
            for schema in schemas {
                if let Some(home) = object_placement::of(object::of_schema(schema))? {
                    homes.add(home);
                }
            }
        }
        Granted::Everywhere => homes.everywhere = true,
        Granted::Server => {}
        Granted::Databases(names) => {
            if names.contains(&session::database()) {
                send::grant_on_database(statement)?;
            }
        }
    }
    homes.check_named()?;
    Ok(homes.reach())
}

/// Whether a plain schema has reference tables, which are all that nodes have in it.
fn has_references(schema: Oid) -> Result<bool> {
    let tables = catalog::references()?;
    Ok(tables.iter().any(|table| names::relation_namespace(table.relation) == Some(schema)))
}

/// Moving between schemas is a change of name only where both live at one place.
fn check_move(object: Object, schema: &str) -> Result<()> {
    let Some(from) = object_placement::of(object)? else { return Ok(()) };
    let to = catalog::home_of(schema)?;
    let stays = match (&from, to) {
        (Home::Node(from, _), Some(to)) => from.node == to.node,
        (Home::Node(..), None) => false,
        (_, Some(to)) => to.node == NodeId::LOCAL,
        (_, None) => true,
    };
    if stays {
        return Ok(());
    }
    let place = |name: &str, home: Option<NodeId>| -> Result<String> {
        Ok(match home {
            Some(node) => {
                format!("schema \"{name}\" lives on node \"{}\"", catalog::node(node)?.name)
            }
            None => format!("schema \"{name}\" is not a distributed schema"),
        })
    };
    let from = match from {
        Home::Node(place_of, name) => place(&name, Some(place_of.node))?,
        Home::Here(name) => format!("relation {name} lives on this server"),
        Home::Everywhere => "the object is on every node".to_owned(),
    };
    let to = place(schema, to.map(|to| to.node))?;
    Err(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot move an object into a schema that lives elsewhere",
    )
    .detail(format!("{}; {to}.", error::capitalized(&from)))
    .hint("Make it anew in the other schema and copy the data."))
}
