//! Safe views of PostgreSQL's trees: what a query touches, the location of its text, its parameters; the objects named
//! in a utility statement, and modified copies.
//!
//! "Node" means a node of a cluster everywhere else; here a member of a parse tree is a parse node (`pg_sys::Node`).
//!
//! Invariant: a view does not outlive its tree. Begin with [`QueryTree`] for the planner's input, and with
//! [`statement::Statement`] for the rest.

pub(in crate::pg) mod bound_params;
mod combination;
mod constant_calls;
pub mod copy_insert;
pub mod current_of;
pub mod cursor_name;
pub mod deparse;
pub mod deparse_check;
mod deparse_marks;
pub mod enclosing;
pub mod function_rules;
pub mod grammar_check;
mod grant_text;
pub mod inheritance_trees;
mod insert_source;
pub mod list;
mod make;
pub mod masked_names;
mod mutate;
pub mod object_numbers;
pub mod parse_nodes;
pub mod parser;
pub mod part_query;
mod partial_aggregates;
pub mod places;
mod plain_types;
pub mod policies;
mod query;
pub mod row_fence;
pub mod row_locks;
pub mod set_aside;
pub mod shipment;
mod shipped_columns;
mod shipped_values;
pub mod statement;
pub mod statement_calls;
pub mod statement_edit;
pub mod statement_names;
pub mod statement_parts;
pub mod subqueries;
mod survey;
pub mod table_numbers;
pub mod union_all;
mod union_branches;
pub mod utility_view;
mod values_lists;
pub mod with_changes;
pub mod with_lists;

pub use query::{QueryTree, Source};
pub use survey::{ParamUse, RelationUse, Survey};
pub(in crate::pg) use survey::{
    expression_tree_walker, names_relation, query_tree_walker, survey_expression,
};
