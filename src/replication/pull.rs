//! Copies rows of a table from another server into the same table here: the target's backend reads them from the
//! source, without a third process in between.

use crate::error::{Error, Result};
use crate::pg::exec::copy_from::{self, Format, PINNED, Source};
use crate::pg::ipc::wait::check_for_interrupts;
use crate::pg::session::{self, sql};
use crate::remote::{Frame, Session, SslMode, Target, Tcp, WaitPolicy, messages};
use crate::replication::connection_settings;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The server that rows are read from; serialized as JSON.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    name: String,
    hosts: Vec<String>,
    ports: Vec<u16>,
    database: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
    user: String,
    #[serde(default)]
    password: Option<String>,
    /// The password file to use; None for the one of the server's operating system user.
    #[serde(default)]
    passfile: Option<PathBuf>,
}

/// The rows to copy, and the format.
pub struct Request {
    /// The table, which has the same name on both servers.
    pub table: Oid,
    /// Its columns, without generated ones.
    pub columns: Vec<String>,
    /// The exported snapshot to read under; None for the source's current state.
    pub snapshot: Option<String>,
    /// First block of the table on the source.
    pub from: u32,
    /// The block after the last one; None for the end of the table.
    pub to: Option<u32>,
    /// None: binary unless the binary form of a column's values depends on the server.
    pub format: Option<Format>,
    /// Maximum number of rows per second.
    pub rate: Option<u64>,
    /// Part of a large copy. The session with the source is kept for the next part. The rows may become visible before
    /// the transaction commits, and remain if it aborts, so the caller must empty the table then. That is cheaper, both
    /// now and later.
    pub bulk: bool,
}

/// Result of a copy.
pub struct Pulled {
    /// Rows.
    pub rows: u64,
    /// Bytes of the source's COPY data.
    pub bytes: u64,
}

/// Default connection timeout for each address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A session that reads under a snapshot. It is kept for the next range of a copy until the backend exits or another
/// source or snapshot is requested.
struct Kept {
    address: Address,
    snapshot: String,
    session: Session,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Opens a session with the source and begins a transaction.
fn reader(address: &Address, request: &Request) -> Result<Session> {
    let snapshot = request.snapshot.as_deref();
    let fits =
        |kept: &Kept| request.bulk && Some(&*kept.snapshot) == snapshot && kept.address == *address;
    if let Some(kept) = KEPT.take().filter(fits) {
        return Ok(kept.session);
    }
    let mut session = address.clone().connect()?;
    session.query(&start(snapshot))?;
    Ok(session)
}

/// Begins a transaction with settings that make the text format unambiguous.
fn start(snapshot: Option<&str>) -> String {
    let mut begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned();
    if let Some(snapshot) = snapshot {
        let mut literal = Vec::new();
        messages::literal(&mut literal, snapshot.as_bytes());
        begin += &format!("; SET TRANSACTION SNAPSHOT{}", String::from_utf8_lossy(&literal));
    }
    for (name, value) in PINNED {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        begin += &format!("; SET LOCAL {name} = '{}'", value.replace(", ", "','"));
    }
    // With constraint_exclusion, planning evaluates constant expressions in checks.
    begin
        + "; SET LOCAL row_security = off; SET LOCAL synchronize_seqscans = off; SET LOCAL constraint_exclusion = off"
}

/// Copies rows from the source into the local table in the caller's transaction.
///
/// 08001 if the source cannot be reached; errors of the source and of the local table (23xxx and others) have the table
/// in their context.
pub fn pull(address: Address, request: &Request) -> Result<Pulled> {
    let name = session::quoted_relation_name(request.table);
    let node = address.name.clone();
    let run = || {
        let format = match request.format {
            Some(format) => format,
            None => format_for(request.table, &request.columns)?,
        };
        let mut session = reader(&address, request)?;
        let mut rows = Rows::of(&mut session, request.rate);
        rows.begin(request, &name, format)?;
        let (table, columns) = (request.table, &request.columns);
        let copied = copy_from::copy_from(table, columns, format, request.bulk, &mut rows)?;
        rows.finish()?;
        let bytes = rows.bytes;
        drop(rows);
        match &request.snapshot {
            Some(snapshot) if request.bulk => {
                KEPT.set(Some(Kept { address, snapshot: snapshot.clone(), session }));
            }
            _ => session.query("COMMIT").map(|_| ())?,
        }
        Ok(Pulled { rows: copied, bytes })
    };
    run().map_err(|error: Error| error.context(format!("rows of {name} from node \"{node}\"")))
}

impl Address {
    /// The address of a server for a role; its password is read from this file unless it is known.
    pub fn of(target: &Target, role: &str, passfile: Option<String>) -> Self {
        let options = target.libpq(role).into_iter().filter(|(word, _)| word.starts_with("ssl"));
        let (hosts, ports) = target.addresses.iter().cloned().unzip();
        Self {
            name: target.name.clone(),
            hosts,
            ports,
            database: target.database.clone(),
            options: options.map(|(word, value)| (word.to_owned(), value)).collect(),
            user: role.to_owned(),
            password: target.password.clone(),
            passfile: passfile.map(PathBuf::from),
        }
    }

    /// Whether its text contains a password.
    pub fn is_secret(&self) -> bool {
        self.password.is_some()
    }

    /// Serializes it for `helios.pull_rows`.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::new(Code::ERRCODE_INTERNAL_ERROR, error.to_string()))
    }

    /// Opens a session for a migration.
    ///
    /// 08001 if that fails.
    pub fn connect(self) -> Result<Session> {
        let user = self.user.clone();
        Session::connect(&Rc::new(self.target()?), &user)
    }

    fn target(self) -> Result<Target> {
        if self.hosts.is_empty() || self.hosts.len() != self.ports.len() {
            return Err(Error::new(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                "a source must have at least one host, and as many ports as hosts",
            ));
        }
        let mut target = Target {
            id: None,
            name: self.name,
            addresses: self.hosts.into_iter().zip(self.ports).collect(),
            database: self.database,
            sslmode: SslMode::Prefer,
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            password: self.password,
            passfile: self
                .passfile
                .or_else(|| std::env::home_dir().map(|home| home.join(".pgpass"))),
            connect_timeout: CONNECT_TIMEOUT,
            proof: None,
            parameters: connection_settings::unprivileged(),
            tcp: Tcp::from_settings(),
        };
        target.set_options(&self.options)?;
        Ok(target)
    }
}

/// Text format if a column's binary form contains OIDs (arrays, composites and ranges of user-defined types, object
/// names), does not exist, or does not survive a round trip.
fn format_for(table: Oid, columns: &[String]) -> Result<Format> {
    let select = "WITH RECURSIVE part(type, named) AS (
            SELECT atttypid, false FROM pg_attribute
             WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attname::text = ANY ($2)
            UNION
            SELECT inner_part.type, inner_part.named
              FROM part p JOIN pg_type t ON t.oid = p.type CROSS JOIN LATERAL (
                   SELECT t.typelem, true WHERE t.typsubscript = 'array_subscript_handler'::regproc
                   UNION ALL SELECT t.typbasetype, false WHERE t.typtype = 'd'
                   UNION ALL SELECT rngsubtype, false FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid)
                   UNION ALL SELECT atttypid, true FROM pg_attribute
                              WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
              ) AS inner_part(type, named))
        SELECT NOT EXISTS (
            SELECT FROM part p JOIN pg_type t ON t.oid = p.type
             WHERE p.named AND p.type >= 16384
                OR t.typsend = 0 OR t.typreceive = 0
                OR p.type IN ('xml'::regtype, 'record'::regtype, 'regclass'::regtype, 'regcollation'::regtype,
                              'regconfig'::regtype, 'regdictionary'::regtype, 'regnamespace'::regtype,
                              'regoper'::regtype, 'regoperator'::regtype, 'regproc'::regtype,
                              'regprocedure'::regtype, 'regrole'::regtype, 'regtype'::regtype))";
    let columns = columns.to_vec();
    let binary = sql::read_one::<bool>(select, &[table.into(), columns.into()])?;
    Ok(if binary == Some(true) { Format::Binary } else { Format::Text })
}

/// The COPY command for the source.
fn copy_command(request: &Request, name: &str, format: Format) -> String {
    let columns: Vec<String> = request.columns.iter().map(pgrx::spi::quote_identifier).collect();
    let columns = columns.join(", ");
    let what = match (request.from, request.to, columns.is_empty()) {
        // COPY of a table is faster than COPY of a query.
        (0, None, true) => name.to_owned(),
        (0, None, false) => format!("{name} ({columns})"),
        (from, to, _) => {
            let end = to.map_or(String::new(), |to| format!(" AND ctid < '({to},0)'"));
            format!("(SELECT {columns} FROM ONLY {name} WHERE ctid >= '({from},0)'{end})")
        }
    };
    format!("COPY {what} TO STDOUT (FORMAT {})", format.name())
}

/// The source's rows as they arrive.
struct Rows<'a> {
    session: &'a mut Session,
    frame: Option<Frame>,
    /// Number of bytes of the frame that have been consumed.
    taken: usize,
    ended: bool,
    rows: u64,
    bytes: u64,
    pace: Option<Pace>,
}

impl<'a> Rows<'a> {
    fn of(session: &'a mut Session, rate: Option<u64>) -> Self {
        let pace = rate.map(|rate| Pace { rate, began: Instant::now() });
        Self { session, frame: None, taken: 0, ended: false, rows: 0, bytes: 0, pace }
    }

    /// Starts the COPY.
    fn begin(&mut self, request: &Request, name: &str, format: Format) -> Result<()> {
        messages::command(self.session.output(), copy_command(request, name, format).as_bytes())?;
        self.session.sync();
        self.session.flush(WaitPolicy::Interruptible)
    }

    /// The next piece of data; false at the end of the data.
    fn advance(&mut self) -> Result<bool> {
        loop {
            let frame = self.session.next(WaitPolicy::Interruptible)?;
            match frame.kind {
                b'd' => {
                    (self.rows, self.bytes) = (self.rows + 1, self.bytes + frame.len() as u64);
                    (self.frame, self.taken) = (Some(frame), 0);
                    return Ok(true);
                }
                b'1' | b'2' | b'H' => {}
                b'c' => return Ok(false),
                b'E' => return Err(self.session.error(&frame)),
                other => return Err(self.session.unexpected(other)),
            }
        }
    }

    /// Reads the source's remaining messages. An error here is one of the source's.
    fn finish(&mut self) -> Result<()> {
        loop {
            let frame = self.session.next(WaitPolicy::Interruptible)?;
            match frame.kind {
                b'd' | b'c' | b'C' => {}
                b'Z' => return Ok(()),
                b'E' => return Err(self.session.error(&frame)),
                other => return Err(self.session.unexpected(other)),
            }
        }
    }
}

impl Source for Rows<'_> {
    fn read(&mut self, buffer: &mut [u8], least: usize) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let Some(frame) = &self.frame else {
                let enough = filled >= least && !self.session.has_input();
                if enough || self.ended {
                    break;
                }
                self.ended = !self.advance()?;
                continue;
            };
            let left = &frame[self.taken..];
            let n = left.len().min(buffer.len() - filled);
            buffer[filled..filled + n].copy_from_slice(&left[..n]);
            (filled, self.taken) = (filled + n, self.taken + n);
            if n == left.len() {
                self.frame = None;
            }
        }
        if let Some(pace) = &self.pace {
            pace.keep(self.rows);
        }
        Ok(filled)
    }
}

impl Drop for Rows<'_> {
    /// Otherwise the source would only notice on its next write that nobody reads anymore.
    fn drop(&mut self) {
        if self.session.is_busy() && !self.session.is_lost() {
            self.session.request_cancel();
        }
    }
}

/// Limits the copy to a number of rows per second.
struct Pace {
    rate: u64,
    began: Instant,
}

impl Pace {
    fn keep(&self, rows: u64) {
        let due = self.began + Duration::from_secs_f64(rows as f64 / self.rate.max(1) as f64);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(10)));
            check_for_interrupts();
        }
    }
}
