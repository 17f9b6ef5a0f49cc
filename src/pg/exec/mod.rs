//! Plans and their execution: the custom scan that runs a statement on a node, input and output of rows, triggers,
//! nesting.
//!
//! Invariant: frames that call PostgreSQL own nothing with a destructor. Begin with [`custom_scan`].

pub mod bulk_insert;
pub mod coordinators_calls;
pub mod copy_change;
pub mod copy_from;
pub mod cursor;
pub mod custom_scan;
pub mod decode;
pub mod estimate;
pub mod evaluate;
mod exact_text;
pub mod explain;
mod first_rows;
pub mod function_call;
pub mod kept_rows;
pub mod local_rows;
pub mod nesting;
pub mod open_cursors;
pub mod open_portals;
pub mod params;
pub mod part_path;
pub mod part_scan;
mod plan_fields;
pub mod plan_walk;
pub mod redirected_calls;
pub mod remote_plan;
pub mod replan;
pub mod result_columns;
pub mod row_scan;
pub mod row_trigger;
pub mod shell_locks;
pub mod shipped_rows;
pub mod table_rows;
pub mod triggers;
mod value_reader;
