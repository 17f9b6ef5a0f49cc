//! `session_user` in SECURITY DEFINER functions.
//!
//! A session with a node logs in as the role to which the code is confined, so that nothing in it can assume another
//! role's privileges (see `crate::pg::session::xact::users`). There, `session_user` is that role and not the client's
//! login role, so an audit column would be wrong. Detectable uses are rejected: in the statement and in its defaults,
//! views, rules and policies, which PostgreSQL has put into the tree, and in the functions, triggers and checks that it
//! names or fires.

use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::privileges::{self, RunAs};
use crate::pg::session::{sql, xact};
use crate::pg::tree::Survey;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};

/// 0A000 for a statement that would get the wrong `session_user` on a node, in a session that logs in there as another
/// role than here.
pub fn refuse_other(survey: &Survey) -> Result<()> {
    let asks = match survey.session_user {
        true => Some("The statement".to_owned()),
        false => asked_by(survey)?,
    };
    let Some(asks) = asks else { return Ok(()) };
    let (login, there) = (privileges::session_user(), privileges::role_name(xact::users().0));
    Err(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot use session_user on a node in a session that is logged in as another role",
    )
    .detail(format!("{asks} reads session_user, which would be \"{there}\" on the node instead of \"{login}\"."))
    .hint(
        "Assign session_user to a variable first and use the variable, or make the function SECURITY INVOKER.",
    ))
}

/// On a node, in such a session: 0A000 for code that reads `session_user`, however deeply nested in what the
/// coordinator's statement calls. The coordinator cannot see what functions call and nested triggers do.
pub fn refuse_on_node(survey: &Survey) -> Result<()> {
    if !survey.session_user {
        return Ok(());
    }
    let here = privileges::session_user();
    Err(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot use session_user on a node in a session that is logged in as another role",
    )
    .detail(format!("It would be \"{here}\" instead of the role that the client logged in as."))
    .hint("Pass session_user as an argument, or make the outermost function SECURITY INVOKER."))
}

/// The part of the code that the statement may run that reads `session_user`.
fn asked_by(survey: &Survey) -> Result<Option<String>> {
    const SEARCHED: &str = "(session_user|session_authorization)";
    let functions = survey.functions.clone();
    let written: Vec<Oid> =
        survey.relations.iter().filter(|used| used.write).map(|used| used.oid).collect();
    let tables: Vec<Oid> = written.into_iter().flat_map(names::inheritors).collect();
    let select = format!(
        "SELECT pg_catalog.format('Function %s', p.oid::pg_catalog.regprocedure) FROM pg_catalog.pg_proc p
          WHERE p.oid = ANY ($1) AND coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc) ~* '{SEARCHED}'
         UNION ALL
         SELECT pg_catalog.format('Trigger %I of %s', t.tgname, t.tgrelid::pg_catalog.regclass)
           FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
          WHERE t.tgrelid = ANY ($2) AND NOT t.tgisinternal AND p.prosrc ~* '{SEARCHED}'
         UNION ALL
         SELECT pg_catalog.format('Constraint %I of %s', k.conname, k.conrelid::pg_catalog.regclass)
           FROM pg_catalog.pg_constraint k
          WHERE k.conrelid = ANY ($2) AND k.contype = 'c' AND pg_catalog.pg_get_constraintdef(k.oid) ~* '{SEARCHED}'
         LIMIT 1"
    );
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    sql::read_one::<String>(&select, &[functions.into(), tables.into()])
}
