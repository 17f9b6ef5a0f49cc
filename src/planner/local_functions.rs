//! Functions tied to this server: in a statement with a distributed table they would run on its node, and affect or
//! describe that server.

use crate::catalog::own_objects::{asks_directory, is_internal, is_own_view};
use crate::error::{Error, Result};
use crate::executor::server_functions::{Bond, bond};
use crate::pg::catalog::names::{displayed_call, displayed_relation_name};
use crate::pg::tree::Survey;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// 0A000 if a statement that runs on a node calls a function tied to this server.
pub(super) fn check(survey: &Survey) -> Result<()> {
    if let Some((function, bond)) =
        survey.bound.and_then(|function| Some((function, bond(function)?)))
    {
        return Err(refusal(function, bond));
    }
    let belongs_here = |function: &&Oid| asks_directory(**function) || is_internal(**function);
    match survey.functions.iter().find(belongs_here) {
        Some(&function) => Err(directory_refusal(function)),
        None => Ok(()),
    }
}

/// 0A000 if a function that runs on a node reads the directory through one of Helios' views, because it is empty there.
pub(super) fn check_views(mut relations: impl Iterator<Item = (Oid, u8)>) -> Result<()> {
    let ours = |(oid, kind): &(Oid, u8)| *kind == b'v' && is_own_view(*oid);
    match relations.find(ours) {
        Some((view, _)) => Err(Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("{} cannot be read by a function that runs on a node", displayed_relation_name(view)),
        )
        .detail("It shows the directory, which only the coordinator has.")
        .hint("Read it in a statement of its own, or in a function of a plain schema: these run on the coordinator.")),
        None => Ok(()),
    }
}

fn beside(function: Oid) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("{} cannot be called beside a distributed table", displayed_call(function)),
    )
}

fn refusal(function: Oid, bond: Bond) -> Error {
    let error = beside(function);
    let name = displayed_call(function);
    match bond {
        Bond::Session => error
            .detail("It would act on the node and not on this session.")
            .hint("Call it in a statement of its own."),
        Bond::Seed => error
            .detail("setseed() was called in this session, and the statement runs on the table's node, whose numbers do not follow from that seed.")
            .hint(format!("Call {name} in a statement of its own, and give its result as a parameter, or begin another session: DISCARD ALL forgets the seed.")),
        Bond::Server => error
            .detail("The statement runs on the table's node, and the function would speak of that server and not of this one.")
            .hint(format!(
                "Call it in a statement of its own, and give its result as a parameter. If a column's default or a view calls {name}, change that."
            )),
        Bond::LargeObject => error
            .detail("Large objects are on this server, and the statement runs on the table's node.")
            .hint(format!(
                "Keep the object's OID in the table, and call {name} in a statement of its own in the same transaction."
            )),
    }
}

fn directory_refusal(function: Oid) -> Error {
    beside(function)
        .detail("It answers from the directory, which only the coordinator has, and the statement runs on the table's node.")
        .hint(format!(
            "Call {} in a statement of its own, or on rows that CREATE TEMPORARY TABLE … AS has brought here.",
            displayed_call(function)
        ))
}
