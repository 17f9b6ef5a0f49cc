//! Copies rows to a foreign server, which cannot pull them, through this process. Used for the small tables that
//! logical replication does not replicate.

use crate::error::Result;
use crate::pg::exec::copy_from::PINNED;
use crate::remote::{Session, WaitPolicy, messages};
use crate::replication::endpoints::identifier;
use std::time::Duration;

/// Amount of data to collect before it is sent.
const PIECE: usize = 64 * 1024;

/// Replaces the rows of a table on one server by those of the same table on another one, within this time.
///
/// Errors are those of the two servers, whose transactions are left open; 55P03 or 57014 if the time is not sufficient.
pub fn relay(
    from: &mut Session,
    to: &mut Session,
    table: &str,
    columns: &[String],
    time: Duration,
) -> Result<()> {
    let names: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    // COPY does not accept an empty list of columns.
    let list = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let time = time.max(Duration::from_millis(1)).as_millis();
    let mut pinned =
        format!("BEGIN; SET LOCAL lock_timeout = {time}; SET LOCAL statement_timeout = {time}");
    for (name, value) in PINNED {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        pinned += &format!("; SET LOCAL {name} = '{}'", value.replace(", ", "','"));
    }
    from.query(&pinned)?;
    // Do not fire triggers, if the role has permission to prevent that.
    let quietly = "SELECT set_config('session_replication_role', 'replica', true) FROM pg_roles WHERE rolname = current_user AND rolsuper";
    to.query(&format!("{pinned}; {quietly}; DELETE FROM ONLY {table}"))?;
    to.start_query(&format!("COPY {table}{list} FROM STDIN"))?;
    let frame = to.next(WaitPolicy::Interruptible)?;
    match frame.kind {
        b'G' => {}
        b'E' => return Err(to.error(&frame)),
        other => return Err(to.unexpected(other)),
    }
    from.start_query(&format!("COPY {table}{list} TO STDOUT"))?;
    let mut failed = None;
    loop {
        let frame = from.next(WaitPolicy::Interruptible)?;
        match frame.kind {
            b'd' => {
                messages::copy_data(to.output(), &frame)?;
                if to.unsent() >= PIECE {
                    to.flush(WaitPolicy::Interruptible)?;
                }
            }
            b'E' => failed = Some(from.error(&frame)),
            b'Z' => break,
            _ => {}
        }
    }
    match &failed {
        None => messages::bare(to.output(), b'c'),
        Some(_) => messages::copy_fail(to.output(), "could not read the rows")?,
    }
    to.flush(WaitPolicy::Interruptible)?;
    let copied = to.finish_query();
    if let Some(error) = failed {
        return Err(error);
    }
    copied?;
    from.query("COMMIT")?;
    to.query("COMMIT").map(|_| ())
}
