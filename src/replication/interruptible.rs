//! Statements that may take long, because there is much to do or somebody is in the way: they are given up when
//! something is asked of their migration.

use crate::catalog::migration::{self, Migration};
use crate::error::Result;
use crate::pg::ipc::worker;
use crate::remote::{Answer, Rows, Session, wait_for_any};
use std::time::{Duration, Instant};

/// Pause between two checks for a new request.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Pause between two checks for the answer.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs statements and gives their rows; None if something was asked for in between. They may or may not have had
/// their effect then. To be called outside a transaction.
pub fn query(migration: &Migration, session: &mut Session, sql: &str) -> Result<Option<Rows>> {
    session.start_query(sql)?;
    let mut answer = Answer::default();
    let mut polled = Instant::now();
    let mut given_up = false;
    loop {
        match session.poll_query(&mut answer) {
            Ok(None) => {}
            _ if given_up => return Ok(None),
            result => return result,
        }
        if !given_up && polled.elapsed() > POLL_INTERVAL {
            polled = Instant::now();
            let now = worker::attempt(|| migration::load(migration.id))?;
            given_up = now.request != migration.request && session.request_cancel();
        }
        wait_for_any(&[&*session], PAUSE);
    }
}
