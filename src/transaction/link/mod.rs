//! A session with a node and its tracked state: transaction, settings, prepared statements, portals, and the current
//! request.

mod answers;
mod columns;
pub mod copy_mode;
pub mod pipeline;

use super::block::{Block, Step};
use super::gid::Gid;
use super::mode::Mode;
use super::node_settings::NodeSettings;
use super::result_stream::{Outcome, ResultStream};
use crate::catalog::{self, Node, NodeId};
use crate::error::{Error, Result};
use crate::pg::exec::result_columns::ResultColumns;
use crate::pg::hooks::invalidation;
use crate::pg::ipc::wait;
use crate::pg::session as local;
use crate::pg::session::xact;
use crate::remote::settings::{Snapshot, difference};
use crate::remote::{
    Frame, Known, Session, Statement, StatementCache, WaitPolicy, messages, text_row,
};
use crate::settings;
use crate::shared::node_health;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::rc::Rc;
use std::time::Instant;

/// Effects of the commands of a pipeline once the node has executed them, in the order sent.
enum Effect {
    Step(Step),
    Settings(Rc<Snapshot>, u64),
    /// The encoding of a COPY's data.
    Encoding(String),
    /// A statement that precedes the request's own: rows that it changes are counted.
    Counted,
    /// No effect.
    Done,
}

/// The request whose responses are being read, after the effects.
#[derive(Default)]
struct Request {
    autocommit: bool,
    writes: bool,
    tag: Option<String>,
    /// Number of rows changed by statements that precede it.
    counted: u64,
    suspended: bool,
    failed: Option<Error>,
    statement: Option<Sent>,
    /// It may change the session's settings.
    forgets: bool,
    /// The statement is followed by the query for the transaction ID.
    asks: bool,
    /// Digest of the columns that the node must describe; 0 if it is not asked.
    columns: u64,
}

/// How a cacheable statement was sent.
#[derive(Clone, Copy)]
struct Sent {
    key: u64,
    known: Known,
    definitions: u64,
}

/// A session with a node and its state.
pub struct Link {
    pub session: Session,
    pub node: Rc<Node>,
    pub block: Block,
    /// Name of the transaction that this session has left prepared, until it is resolved.
    pub prepared: Option<String>,
    applied: NodeSettings,
    statements: StatementCache,
    effects: VecDeque<Effect>,
    request: Request,
    current: Option<Rc<RefCell<ResultStream>>>,
    closing: Vec<u32>,
    /// Those that the request being written closes.
    being_closed: Vec<u32>,
    /// Portals are being closed, and the response is outstanding.
    pub is_closing: bool,
    /// Open portals, each with its nesting level.
    portals: Vec<(u32, u32)>,
    last_portal: u32,
    last_used: i64,
    name: Vec<u8>,
    /// The query for the transaction ID is prepared on the node.
    can_ask: bool,
    /// Something was written since the last wait for replicas.
    pub wrote: bool,
    /// The node rejected writes: it may no longer be its group's primary.
    pub demoted: bool,
    /// The node is known to have this server's version of the catalogs.
    pub has_own_version: bool,
}

impl Link {
    pub fn new(session: Session, node: Rc<Node>) -> Self {
        Self {
            session,
            node,
            block: Block::default(),
            prepared: None,
            applied: NodeSettings::default(),
            statements: StatementCache::default(),
            effects: VecDeque::new(),
            request: Request::default(),
            current: None,
            closing: Vec::new(),
            being_closed: Vec::new(),
            is_closing: false,
            portals: Vec::new(),
            last_portal: 0,
            last_used: wait::statement_start(),
            name: Vec::new(),
            can_ask: false,
            wrote: false,
            demoted: false,
            has_own_version: false,
        }
    }

    pub fn id(&self) -> NodeId {
        self.node.id
    }

    /// The name of the node's own transaction, if it has one.
    pub fn own_gid(&self) -> Option<String> {
        let id = self.block.xid?;
        let gid = Gid::Own { database: local::database_id(), node: self.node.id.0, id };
        let mut cluster = None;
        // Hold interrupts: if the directory has changed, reading it again would process a cancel request, although the
        // node may have committed.
        wait::hold_interrupts(|| cluster = catalog::cluster_id().ok());
        Some(gid.name(cluster?))
    }

    /// Whether the session is unusable, or another server may be the primary now. Checks the socket if it has been idle
    /// for a while: a node restarted in the meantime must not cause an error for the client.
    pub fn is_stale(&mut self) -> bool {
        const IDLE: i64 = 10_000; // microseconds
        let now = wait::statement_start();
        let idle = now - self.last_used > IDLE && !self.block.is_open() && !self.session.is_busy();
        self.last_used = now;
        self.session.is_lost()
            || (self.demoted && !self.block.is_open())
            || (self.session.has_cancel_pending() && !self.block.is_open())
            || (idle && self.session.is_stale())
    }

    /// Whether the end of the local (sub)transaction concerns this link.
    #[inline]
    pub fn is_concerned(&self) -> bool {
        self.block.is_open()
            || self.prepared.is_some()
            || self.session.is_lost()
            || !self.session.is_at_rest()
            || self.session.status() != b'I'
    }

    /// Numbers a portal about to be created at the current nesting level.
    pub fn new_portal(&mut self) -> u32 {
        self.last_portal += 1;
        self.portals.push((self.last_portal, xact::nest_level()));
        self.last_portal
    }

    /// The name that a portal has on the node.
    pub fn portal_name(&mut self, portal: u32) -> Vec<u8> {
        self.set_name(b'p', portal);
        self.name.clone()
    }

    /// The nesting level of an open portal; None if it does not exist anymore.
    pub fn portal_level(&self, portal: u32) -> Option<u32> {
        self.portals.iter().find(|(number, _)| *number == portal).map(|(_, level)| *level)
    }

    /// The subtransaction at this level has been rolled back, and its portals with it.
    pub fn rolled_back(&mut self, level: u32) {
        self.portals.retain(|(_, l)| *l < level);
        self.block.rolled_back(level);
    }

    /// Called before the node runs something that may change the session's settings or role.
    pub fn forget_settings(&mut self) {
        if self.current.is_some() {
            self.request.forgets = true; // settings sent ahead of the statement have not arrived yet
        } else {
            self.applied.forget();
        }
    }

    /// Marks a portal as unused: it is closed with the next request.
    pub fn close_portal(&mut self, portal: u32) {
        self.portals.retain(|(number, _)| *number != portal);
        if self.block.is_open() {
            self.closing.push(portal);
            crate::transaction::portals::note_portal();
        }
    }

    /// Discards prepared statements; they are closed with the next request.
    pub fn forget_statements(&mut self) {
        self.statements.clear();
    }

    pub fn is_current(&self, stream: &Rc<RefCell<ResultStream>>) -> bool {
        self.current.as_ref().is_some_and(|current| Rc::ptr_eq(current, stream))
    }

    /// Whether the current request can be canceled without side effects.
    pub fn may_cancel(&self) -> bool {
        self.request.autocommit && !self.request.writes
    }

    /// The stream of the current request, if it was started at this nesting level or deeper.
    pub fn has_request_within(&self, level: u32) -> bool {
        !self.session.is_at_rest()
            && self.current.as_ref().is_none_or(|current| current.borrow().level >= level)
    }

    /// Assigns the streams of a committed subtransaction to its parent.
    pub fn released(&mut self, level: u32) {
        if let Some(current) = &self.current {
            let mut stream = current.borrow_mut();
            stream.level = stream.level.min(level - 1);
        }
        for (_, of) in &mut self.portals {
            *of = (*of).min(level - 1);
        }
        self.block.released(level);
    }

    /// Abandons the current request; a reader that continues gets an error.
    pub fn drop_reader(&mut self) {
        if let Some(stream) = self.current.take() {
            stream.borrow_mut().outcome.get_or_insert_with(|| {
                Outcome::Failed(Error::new(
                    PgSqlErrorCode::ERRCODE_IN_FAILED_SQL_TRANSACTION,
                    "the transaction of this statement was rolled back",
                ))
            });
        }
    }

    /// Discards state of the node's transaction, which has ended.
    pub fn ended(&mut self, committed: bool) {
        if committed {
            self.applied.commit()
        } else {
            self.applied.roll_back(0)
        }
        self.block.end();
        self.closing.clear();
        self.being_closed.clear();
        self.portals.clear();
    }
}

/// The command for a step.
pub fn sql_of(step: Step) -> String {
    match step {
        Step::Begin => xact::begin_command(),
        Step::ReadOnly => "SET TRANSACTION READ ONLY".to_owned(),
        Step::Savepoint(level) => format!("SAVEPOINT helios_{level}"),
        Step::RollbackTo(level) => format!("ROLLBACK TO SAVEPOINT helios_{level}"),
        Step::Release(level) => format!("RELEASE SAVEPOINT helios_{level}"),
    }
}

/// The error for a node that may or may not have committed. The transaction's name, if it has one, is the argument for
/// `helios_transaction_status()`.
pub fn unknown_outcome(gid: Option<String>, cause: &Error) -> Error {
    let (detail, hint) = match gid {
        Some(gid) => (
            format!("Transaction \"{gid}\": {cause}"),
            format!(
                "To find out its outcome, run SELECT helios_transaction_status('{gid}') when the node is available \
                    again."
            ),
        ),
        None => (
            cause.to_string(),
            "Check the data before running the statement again. Set helios.name_single_writes = on to be able to query \
                the outcome of such transactions."
                .to_owned(),
        ),
    };
    let mut error = Error::new(
        PgSqlErrorCode::ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
        "connection to the node was lost before the outcome of the transaction was known",
    )
    .detail(detail)
    .hint(hint);
    if let Some(context) = &cause.fields().context {
        error = error.context(context.clone());
    }
    error
}
