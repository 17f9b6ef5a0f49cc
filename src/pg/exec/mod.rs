//! Plans, scans, rows and triggers: what takes part in the execution of a statement.

pub mod bulk_insert;
pub mod copy_change;
pub mod copy_from;
pub mod custom_scan;
pub mod decode;
pub mod evaluate;
pub mod explain;
pub mod nesting;
pub mod params;
pub mod plan;
pub mod replan;
pub mod result_columns;
pub mod row_scan;
pub mod row_trigger;
pub mod shell_locks;
pub mod table_rows;
pub mod triggers;
