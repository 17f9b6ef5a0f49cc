//! How a statement runs on its node: alone or as part of a transaction, all rows or some at a time.

/// Whether a statement on a node is a transaction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The statement is alone in its local transaction: it commits on the node when it completes.
    Autocommit,
    /// The statement is part of a local transaction, which a transaction on the node follows.
    Transaction,
}

/// How rows are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// All of them, as a stream.
    All,
    /// This many at a time, from a portal that stays open meanwhile; always part of a transaction.
    Batch(u32),
}
