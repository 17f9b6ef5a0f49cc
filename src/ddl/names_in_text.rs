//! Names in the text of a command that leave no trace in `pg_depend`, such as those in `ALTER COLUMN … TYPE … USING`.
//!
//! Such commands are rare, so their text is scanned without regard to grammar: a word that is the name of an object in
//! a schema of the search path that the node does not have is rejected, whatever its meaning in this place.

use super::object_location::{self, Location};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::recorded::{search_path, visible_relation};
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::session::{self, sql};
use crate::pg::tree::statement::Statement;
use helios_core::lex::{self, Kind, Rules, Token};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};

/// Raises an error if the command, to be run on this node or on all (None), could mean something else there.
pub(super) fn check(statement: &Statement, node: Option<NodeId>) -> Result<()> {
    if !statement.names_without_trace() {
        return Ok(());
    }
    let text = statement.text();
    for (name, token) in strings(text) {
        if let Some(relation) = visible_relation(&name)
            && let Some(location) = object_location::of_named(relation)?
            && !is_there(&location, node)
        {
            let name = session::quoted_relation_name(relation.id);
            return Err(refusal(statement, &name, token));
        }
    }
    let mut elsewhere = Vec::new();
    for namespace in search_path() {
        let away = match catalog::any_placement(namespace)? {
            Some(place) => Some(place.node) != node,
            None => names::is_temporary_namespace(namespace),
        };
        if away {
            elsewhere.push(namespace);
        }
    }
    if elsewhere.is_empty() {
        return Ok(());
    }
    let words = words(text);
    let list: Vec<String> = words.iter().map(|(name, _)| name.clone()).collect();
    let Some(name) = named_in(&elsewhere, list)? else { return Ok(()) };
    match words.iter().find(|(word, _)| *word == name) {
        Some((name, token)) => Err(refusal(statement, name, *token)),
        None => Ok(()),
    }
}

fn is_there(location: &Location, node: Option<NodeId>) -> bool {
    match location {
        Location::Node(place, _) => Some(place.node) == node,
        Location::Coordinator(_) => false,
        Location::EveryNode => true,
    }
}

/// One of these names that is the name of an object in these schemas.
fn named_in(schemas: &[Oid], names: Vec<String>) -> Result<Option<String>> {
    let _path = OwnSettings::safe_path();
    let select = "SELECT name FROM (
                      SELECT proname::text, pronamespace FROM pg_catalog.pg_proc
                      UNION ALL SELECT typname::text, typnamespace FROM pg_catalog.pg_type
                      UNION ALL SELECT oprname::text, oprnamespace FROM pg_catalog.pg_operator
                      UNION ALL SELECT collname::text, collnamespace FROM pg_catalog.pg_collation
                      UNION ALL SELECT cfgname::text, cfgnamespace FROM pg_catalog.pg_ts_config
                      UNION ALL SELECT opcname::text, opcnamespace FROM pg_catalog.pg_opclass) x(name, namespace)
                   WHERE namespace = ANY ($1) AND name = ANY ($2) LIMIT 1";
    sql::read_one::<String>(select, &[schemas.to_vec().into(), names.into()])
}

/// The unqualified names and operators in the text.
fn words(text: &[u8]) -> Vec<(String, Token)> {
    let tokens: Vec<Token> = lex::tokens(text, rules()).collect();
    let mut found = Vec::new();
    for (i, &token) in tokens.iter().enumerate() {
        let qualified = i > 0 && tokens[i - 1].is_mark(text, ".");
        let qualifies = tokens.get(i + 1).is_some_and(|next| next.is_mark(text, "."));
        if qualified || qualifies {
            continue;
        }
        let name = match token.kind {
            Kind::Operator => String::from_utf8(token.bytes(text).to_vec()).ok(),
            _ => lex::identifier(text, token, b'\\').ok(),
        };
        found.extend(name.map(|name| (name, token)));
    }
    found
}

/// String constants that could contain unqualified names: those that are cast, or the first argument of a call.
fn strings(text: &[u8]) -> Vec<(String, Token)> {
    let tokens: Vec<Token> = lex::tokens(text, rules()).collect();
    let mut found = Vec::new();
    for (i, &token) in tokens.iter().enumerate() {
        let cast = tokens.get(i + 1).is_some_and(|next| next.is_mark(text, "::"));
        if token.is_string() && (cast || is_argument(text, &tokens[..i])) {
            found.extend(name_in(text, token).map(|name| (name, token)));
        }
    }
    found
}

/// Whether the token after these is the first argument of a call.
fn is_argument(text: &[u8], before: &[Token]) -> bool {
    let [.., name, parenthesis] = before else { return false };
    let keyword = ["in", "from", "to", "using"].iter().any(|word| name.is_word(text, word));
    parenthesis.is_mark(text, "(") && !keyword && lex::identifier(text, *name, b'\\').is_ok()
}

/// The single name that a string contains, followed by an argument list or nothing.
fn name_in(text: &[u8], token: Token) -> Option<String> {
    let value = lex::string(text, token, b'\\').ok()?;
    let bytes = value.as_bytes();
    let first = lex::token_at(bytes, 0, rules())?;
    let alone = lex::token_at(bytes, first.end, rules()).is_none_or(|t| t.is_mark(bytes, "("));
    let name = lex::identifier(bytes, first, b'\\').ok()?;
    alone.then_some(name)
}

fn rules() -> Rules {
    let setting = session::setting("standard_conforming_strings");
    Rules { standard_conforming_strings: setting.is_none_or(|value| value == "on") }
}

fn refusal(statement: &Statement, name: &str, token: Token) -> Error {
    let error = Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("name \"{name}\" would refer to a different object on the node"),
    )
    .detail("The object that it refers to is in a schema that does not exist on the node.")
    .hint("Qualify the name with its schema, or remove that schema from search_path.");
    statement.blame(error, token.start)
}
