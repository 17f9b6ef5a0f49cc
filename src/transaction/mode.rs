//! Execution modes of a statement on its node: alone or in a transaction, all rows at once or in batches.

/// Whether a statement on a node is a transaction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The statement is alone in its local transaction: it commits on the node when it completes.
    Autocommit,
    /// The statement is part of a local transaction, with a corresponding transaction on the node.
    Transaction,
}

/// How rows are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// All rows, as a stream.
    All,
    /// This many at a time, from a portal that stays open in between; always in a transaction.
    Batch(u32),
}
