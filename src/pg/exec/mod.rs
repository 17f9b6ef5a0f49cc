//! Plans and their execution: the custom scan that runs a statement on a node, input and output of rows, triggers,
//! nesting.
//!
//! Invariant: frames that call PostgreSQL own nothing with a destructor. Begin with [`custom_scan`].

pub mod bulk_insert;
pub mod copy_change;
pub mod copy_from;
pub mod custom_scan;
pub mod decode;
pub mod evaluate;
pub mod explain;
pub mod function_call;
pub mod nesting;
pub mod params;
pub mod redirected_calls;
pub mod remote_plan;
pub mod replan;
pub mod result_columns;
pub mod row_scan;
pub mod row_trigger;
pub mod shell_locks;
pub mod table_rows;
pub mod triggers;
mod value_reader;
