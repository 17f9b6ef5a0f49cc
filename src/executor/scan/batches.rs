//! How many rows are fetched from a node at a time.

/// Number of rows fetched at a time if the executor does not specify one; it grows while they are read.
pub(super) const BATCH: u32 = 1000;
/// Number of rows that it grows to at most.
const LARGEST_BATCH: u32 = 50_000;
/// About how many bytes of rows are fetched at a time at most, since they are kept if the session is needed in between.
const BATCH_BYTES: u64 = 4 << 20;

/// The number of rows to fetch after so many of so many bytes, the last of them `batch` at once.
pub(super) fn larger_batch(batch: u32, rows: u64, bytes: u64) -> u32 {
    let in_bytes = BATCH_BYTES * rows.max(1) / bytes.max(1);
    let most = u32::try_from(in_bytes).unwrap_or(LARGEST_BATCH).clamp(BATCH, LARGEST_BATCH);
    batch.saturating_mul(4).min(most)
}
