//! The worker of one migration: takes it from state to state until there is nothing to do for now.

use super::steps;
use super::steps::outcome::StepOutcome;
use crate::catalog;
use crate::catalog::migration::{self, Migration};
use crate::error::Error;
use crate::pg::error::notify;
use crate::pg::ipc::worker;
use helios_core::migration::{State, back_off};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Duration;

/// The longest pause before a step is retried.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Advances a migration from state to state until it ends or has nothing to do for now. The caller holds the lock that makes
/// it the migration's only worker.
pub fn run(id: i64) {
    let mut old_holders = None;
    loop {
        worker::sleep(Duration::ZERO); // reloads a changed configuration
        let migration = match worker::attempt(|| migration::load(id)) {
            Ok(migration) => migration,
            Err(error) => return notify(PgLogLevel::LOG, &error),
        };
        match steps::step(&migration, &mut old_holders) {
            Ok(StepOutcome::Continue) => {}
            Ok(StepOutcome::Sleep(time)) => return retry_after(id, time),
            Ok(StepOutcome::Ended) => return,
            Err(error) if !failed(&migration, &error) => return,
            Err(_) => {}
        }
    }
}

fn retry_after(id: i64, time: Duration) {
    if let Err(error) = worker::attempt(|| migration::retry_after(id, time)) {
        notify(PgLogLevel::LOG, &error);
    }
}

/// Whether a retry may succeed without intervention.
fn is_passing(error: &Error) -> bool {
    let codes = [
        Code::ERRCODE_LOCK_NOT_AVAILABLE,
        Code::ERRCODE_OBJECT_IN_USE,
        Code::ERRCODE_TOO_MANY_CONNECTIONS,
        Code::ERRCODE_QUERY_CANCELED,
        Code::ERRCODE_ADMIN_SHUTDOWN,
        Code::ERRCODE_CRASH_SHUTDOWN,
        Code::ERRCODE_CANNOT_CONNECT_NOW,
    ];
    error.is_class("08")
        || error.is_class("40")
        || codes.into_iter().any(|code| error.is(code))
        || catalog::is_version_refusal(error)
}

/// Handles a failed step; true if the migration continues at once.
fn failed(migration: &Migration, error: &Error) -> bool {
    let message = describe(error);
    notify(PgLogLevel::LOG, &error.clone().context(format!("migration {}", migration.id)));
    // The switch may have been committed although its step failed afterwards.
    let Ok(now) = worker::attempt(|| migration::load(migration.id)) else { return false };
    let passing = is_passing(error) || !now.state.is_before_switch();
    let noted = worker::attempt(|| match passing {
        true => {
            let tries = u32::try_from(migration.tries + 1).unwrap_or(1);
            let pause = back_off(tries, Duration::from_millis(250), LONGEST_PAUSE);
            migration::postpone(migration.id, &message, pause)
        }
        false if migration::is_request_unchanged(migration)? => {
            migration::end(migration.id, State::Failed, Some(&message))
        }
        false => Ok(()),
    });
    if let Err(error) = &noted {
        notify(PgLogLevel::LOG, error);
    }
    noted.is_ok() && !passing
}

fn describe(error: &Error) -> String {
    let context = error.fields().context.as_deref().map(String::from_utf8_lossy);
    let context = context.unwrap_or_default();
    // The last error message that names a node is from that node.
    let mut text = match context.lines().rev().find(|line| line.starts_with("node \"")) {
        Some(node) => format!("{node}: {error}"),
        None => format!("{error}"),
    };
    if let Some(hint) = &error.fields().hint {
        text.push_str(" Hint: ");
        text.push_str(&String::from_utf8_lossy(hint));
    }
    text
}
