//! Distributed schemas: made, renamed, dropped.

use super::follow_up::{FollowUp, NewSchema};
use super::new_schema::{PlacementRequest, locked_target, plain_schema, register};
use super::statement_scope::{StatementScope, begin};
use super::{auto_reference, convert, dependencies, drop_extension, send};
use crate::catalog::{self, NodeId, placement_strategy};
use crate::error::{Error, Result};
use crate::migration;
use crate::pg::catalog::privileges;
use crate::pg::hooks::utility::Step;
use crate::pg::session::{self, sql};
use crate::pg::tree::statement::{CreateSchema, Statement};
use crate::settings::{self, PlacementStrategy};
use helios_core::{clause, lex};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::spi::quote_identifier;
use std::cell::RefCell;

thread_local! {
    /// Set while `helios_create_schema` runs its CREATE SCHEMA.
    static DIRECTIVE: RefCell<Option<PlacementRequest>> = const { RefCell::new(None) };
}

/// In a database without the extension, a clause that the scanner let pass is an error.
pub fn refuse_clause_without_extension(statement: &Statement) -> Result<()> {
    if statement.create_schema().is_none() || statement.is_part() {
        return Ok(());
    }
    match clause::read(statement.text()) {
        Ok(None) => Ok(()),
        Ok(Some(clause)) => Err(statement.blame(
            Error::new(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "distributed schemas require extension \"helios\" in this database",
            )
            .hint("Run CREATE EXTENSION helios."),
            clause.range.start,
        )),
        Err(error) => Err(malformed(statement, error)),
    }
}

/// The statements that are about schemas; None for all others.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    if let Some(head) = statement.create_schema() {
        return before_create(statement, &head).map(Some);
    }
    if let Some((old, new)) = statement.rename_schema() {
        before_rename(&old, &new)?;
        return Ok(Some(begin(*statement, FollowUp::RenameSchema { old, new })));
    }
    if let Some((schema, label)) = statement.label_of("helios") {
        return label_schema(statement, schema, label.as_deref()).map(Some);
    }
    if let Some((_, cascade)) = statement.drop_schemas() {
        return Ok(Some(begin(*statement, FollowUp::DropSchemas { cascade })));
    }
    if statement.drops_extension("helios") {
        drop_extension::before()?;
    }
    if let Some(roles) = statement.drops_owned() {
        drop_extension::refuse_to_drop_us(&roles)?;
    }
    Ok(None)
}

/// Acquires the same locks as the start of a migration, so that the schema cannot be renamed concurrently.
fn before_rename(old: &str, new: &str) -> Result<()> {
    let Some(namespace) = session::namespace(old).filter(|_| catalog::in_use()) else {
        return Ok(());
    };
    if !privileges::owns_schema(namespace) {
        return Ok(()); // the server will refuse it: do not wait for locks
    }
    session::lock_schema(namespace);
    refuse_while_moving(old, "rename")?;
    match catalog::any_placement_of(old)? {
        Some(_) => placement_strategy::check_name(new),
        None => Ok(()),
    }
}

/// 55006 if a migration of the schema is in progress: it identifies the schema by name until it has ended, also
/// before definitions are frozen.
pub(super) fn refuse_while_moving(schema: &str, verb: &str) -> Result<()> {
    if catalog::gate::refusal().is_some() {
        // With catalogs of another version, only names are known; no worker moves schemas then.
        return catalog::any_placement_of(schema).map(drop);
    }
    let Some(id) = migration::of_schema(schema)? else { return Ok(()) };
    Err(Error::new(
        Code::ERRCODE_OBJECT_IN_USE,
        format!("cannot {verb} schema \"{schema}\": migration {id} is in progress"),
    )
    .detail("The migration identifies the schema by its name.")
    .hint(format!(
        "Wait for it with SELECT helios_wait_for_migration({id}), or cancel it with SELECT \
            helios_cancel_migration({id})."
    )))
}

fn before_create(statement: &Statement, head: &CreateSchema) -> Result<Step> {
    let clause = clause::read(statement.text()).map_err(|error| malformed(statement, error))?;
    let request = match (DIRECTIVE.take(), &clause) {
        (Some(request), _) => Some(request),
        (None, Some(clause)) => Some(request_of(statement, clause)?),
        // The coordinator has decided, whatever this node's configuration file says.
        (None, None) if catalog::proof::is_coordinators() => None,
        (None, None) => settings::distributes_new(&head.name).then(PlacementRequest::default),
    };
    if head.if_not_exists && session::namespace(&head.name).is_some() {
        return Ok(Step::pass(*statement));
    }
    let Some(request) = request else {
        return Ok(match catalog::in_use() {
            true => begin(*statement, FollowUp::PlainSchema { text: plain_text(statement, head) }),
            false => Step::pass(*statement),
        });
    };
    let checked = placement_strategy::check_name(&head.name);
    let target =
        checked.and_then(|()| locked_target(&head.name, &request)).map_err(
            |error| match &clause {
                Some(clause) => {
                    let at = clause.node.as_ref().map_or(clause.range.start, |node| node.position);
                    statement.blame(error, at)
                }
                None => error,
            },
        )?;
    let mut text = statement.text().to_vec();
    if let Some(clause) = &clause {
        clause::blank(&mut text[clause.range.clone()]);
    }
    blank_if_not_exists(&mut text);
    let name = head.name.clone();
    let key = request.key.unwrap_or_else(|| name.clone());
    Ok(begin(*statement, FollowUp::CreateSchema(NewSchema { name, key, target, text })))
}

pub(super) fn created(
    new: &NewSchema,
    scope: &StatementScope,
    statement: &Statement,
) -> Result<()> {
    register(&new.name, &new.key, new.target)?;
    auto_reference::follow(scope)?;
    dependencies::check_all(scope)?;
    if new.target.node() != NodeId::LOCAL {
        send::to(new.target.node(), &new.text).map_err(|error| statement.shift(error))?;
    }
    Ok(())
}

pub(super) fn renamed(old: &str, new: &str, statement: &Statement) -> Result<()> {
    match catalog::any_placement_of(old)? {
        Some(placement) => {
            catalog::rename_schema(old, new)?;
            match placement.node {
                NodeId::LOCAL => Ok(()),
                node => send::own(node, statement),
            }
        }
        None if catalog::in_use() => send::own_to_all(statement),
        None => Ok(()),
    }
}

/// Drops each schema that the statement dropped here where else it is. A plain schema is on every node.
pub(super) fn dropped(scope: &StatementScope, cascade: bool) -> Result<()> {
    if catalog::gate::refusal().is_some() && !catalog::in_use() {
        return Ok(()); // the catalogs' version is another, and there are no nodes
    }
    let dropped = scope.dropped_schemas();
    let mut nodes = Vec::new();
    let mut plain = Vec::new();
    for schema in &dropped {
        match catalog::any_placement_of(schema)? {
            Some(placement) if placement.node == NodeId::LOCAL => {}
            Some(placement) => nodes.push((placement.node, schema.as_str())),
            None => plain.push(schema.as_str()),
        }
    }
    let behavior = if cascade { "CASCADE" } else { "RESTRICT" };
    for node in catalog::remote_nodes()? {
        let here = nodes.iter().filter(|(id, _)| *id == node.id).map(|(_, schema)| schema);
        for schema in here.chain(&plain) {
            // A schema dropped manually on the node must not prevent the DROP here.
            let text = format!("DROP SCHEMA IF EXISTS {} {behavior}", quote_identifier(schema));
            send::to(node.id, text.as_bytes())?;
        }
    }
    Ok(())
}

/// `helios_create_schema`: returns the name of the node.
pub fn create(
    name: &str,
    request: PlacementRequest,
    owner: Option<&str>,
    if_not_exists: bool,
) -> Result<String> {
    let missing_ok = if if_not_exists { "IF NOT EXISTS " } else { "" };
    let mut text = format!("CREATE SCHEMA {missing_ok}{}", quote_identifier(name));
    if let Some(owner) = owner {
        text.push_str(&format!(" AUTHORIZATION {}", quote_identifier(owner)));
    }
    struct Directive;
    impl Drop for Directive {
        fn drop(&mut self) {
            DIRECTIVE.take();
        }
    }
    let _taken_back = Directive;
    DIRECTIVE.replace(Some(request));
    sql::run(&text, &[])?;
    match catalog::any_placement_of(name)? {
        Some(placement) => Ok(catalog::node(placement.node)?.name.clone()),
        None => Err(Error::new(
            Code::ERRCODE_DUPLICATE_SCHEMA,
            format!("schema \"{name}\" already exists and is not a distributed schema"),
        )
        .hint("Use helios_distribute_schema() to distribute it.")),
    }
}

fn label_schema(
    statement: &Statement,
    schema: Option<String>,
    label: Option<&str>,
) -> Result<Step> {
    let Some(schema) = schema else {
        return Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "security labels of provider \"helios\" are \
            supported for schemas only",
        )
        .detail("All objects of a distributed schema are on its node.")
        .hint("Label the schema: SECURITY LABEL FOR helios ON SCHEMA … IS 'distributed'."));
    };
    match label {
        Some("distributed") => {
            check_may_call("helios_distribute_schema(text, text)")?;
            convert::distribute(&schema, &PlacementRequest::default())?;
        }
        None => {
            check_may_call("helios_undistribute_schema(text)")?;
            convert::undistribute(&schema)?;
        }
        Some(other) => {
            return Err(Error::new(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("\"{other}\" is not a valid security label for provider \"helios\""),
            )
            .hint("Use 'distributed', or NULL to undistribute the schema."));
        }
    }
    Ok(Step::done(statement))
}

/// A label asks for what a function does, and needs what that needs.
///
/// 42501 for those who may not call it.
fn check_may_call(function: &str) -> Result<()> {
    let find = "SELECT pg_catalog.to_regprocedure('pg_catalog.' || $1)::oid";
    let found = sql::one::<pgrx::pg_sys::Oid>(find, &[function.into()])?;
    if found.is_some_and(privileges::may_call) {
        return Ok(());
    }
    let (name, _) = function.split_once('(').unwrap_or((function, ""));
    let user = privileges::role_name(privileges::current_user());
    Err(Error::new(
        Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied for function {name}"),
    )
    .detail("The security label requires EXECUTE privilege on the function that does the same.")
    .hint(format!(
        "Run GRANT EXECUTE ON FUNCTION {function} TO {} to allow both.",
        quote_identifier(&user)
    )))
}

/// CREATE SCHEMA for the nodes, where the tables that are made with a plain schema are not made.
fn plain_text(statement: &Statement, head: &CreateSchema) -> String {
    if !head.has_elements {
        return String::from_utf8_lossy(statement.text()).into_owned();
    }
    let owner =
        head.owner.clone().unwrap_or_else(|| privileges::role_name(privileges::current_user()));
    plain_schema(&head.name, &owner)
}

/// On the node, a schema with the same name would be unrelated: it must not be taken for the new one.
fn blank_if_not_exists(text: &mut [u8]) {
    let rules = lex::Rules { standard_conforming_strings: true };
    let start = lex::statement_start(text);
    let words: Vec<_> = lex::tokens(&text[start..], rules).take(5).collect();
    let phrase: Vec<_> = words.iter().skip(2).zip(["if", "not", "exists"]).collect();
    let found =
        phrase.len() == 3 && phrase.iter().all(|(token, word)| token.is_word(&text[start..], word));
    if let (true, Some(first), Some(last)) = (found, words.get(2), words.get(4)) {
        text[start + first.start..start + last.end].fill(b' ');
    }
}

fn request_of(statement: &Statement, clause: &clause::Clause) -> Result<PlacementRequest> {
    let mut request = PlacementRequest {
        node: clause.node.as_ref().map(|node| node.text.clone()),
        ..PlacementRequest::default()
    };
    let mut names = Vec::new();
    for option in &clause.options {
        let blame = |error: Error, at: &clause::Name| statement.blame(error, at.position);
        if names.contains(&option.name.text.as_str()) {
            let error = Error::new(Code::ERRCODE_SYNTAX_ERROR, "conflicting or redundant options");
            return Err(blame(error, &option.name));
        }
        names.push(option.name.text.as_str());
        match option.name.text.as_str() {
            "key" => request.key = Some(option.value.text.clone()),
            "strategy" => {
                let strategy = PlacementStrategy::named(&option.value.text);
                request.strategy = Some(strategy.ok_or_else(|| {
                    let message =
                        format!("unrecognized placement strategy \"{}\"", option.value.text);
                    let error = Error::new(Code::ERRCODE_INVALID_PARAMETER_VALUE, message)
                        .hint("Valid strategies are hash, range, composite, and least_loaded.");
                    blame(error, &option.value)
                })?);
            }
            other => {
                let message = format!("unrecognized distributed schema option \"{other}\"");
                let error = Error::new(Code::ERRCODE_INVALID_PARAMETER_VALUE, message)
                    .hint("Valid options are key and strategy.");
                return Err(blame(error, &option.name));
            }
        }
    }
    Ok(request)
}

fn malformed(statement: &Statement, error: clause::ClauseError) -> Error {
    let at = error.position;
    let raised = Error::new(Code::ERRCODE_SYNTAX_ERROR, error.message).hint(error.hint);
    statement.blame(raised, at)
}
