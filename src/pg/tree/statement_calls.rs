//! Function calls in utility statements whose expressions are not planned: arguments of EXECUTE and CALL, and
//! expressions that ALTER TABLE evaluates for each row.

use crate::error::Result;
use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::list;
use crate::pg::tree::parse_nodes;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::survey_expression;
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::c_void;
use std::ptr;

unsafe extern "C-unwind" {
    // As in `tree`: the callback's frame has no destructors.
    #[cfg_attr(not(feature = "pg15"), link_name = "raw_expression_tree_walker_impl")]
    fn raw_expression_tree_walker(
        node: *mut pg_sys::Node,
        walker: unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool,
        context: *mut c_void,
    ) -> bool;
}

/// A function call in a statement, by the function's name.
pub struct RawCall {
    call: *mut pg_sys::FuncCall,
    /// Name of PostgreSQL's function.
    pub name: String,
}

impl RawCall {
    /// The first argument, if it is a string constant.
    pub fn first_text(&self) -> Option<String> {
        // SAFETY: a valid call; the casts follow the tags.
        unsafe {
            let mut argument = *list::members::<pg_sys::Node>((*self.call).args).first()?;
            while (*argument).type_ == NodeTag::T_TypeCast {
                argument = (*argument.cast::<pg_sys::TypeCast>()).arg;
            }
            if (*argument).type_ != NodeTag::T_A_Const {
                return None;
            }
            let constant = argument.cast::<pg_sys::A_Const>();
            if (*constant).isnull {
                return None;
            }
            parse_nodes::string((&raw mut (*constant).val).cast())
        }
    }
}

impl Statement {
    /// EXECUTE, possibly inside EXPLAIN or CREATE TABLE AS.
    fn execute(&self) -> Option<*mut pg_sys::ExecuteStmt> {
        let mut node = self.node::<pg_sys::Node>();
        // SAFETY: an analyzed statement; the casts follow the tags.
        unsafe {
            loop {
                let query = match (*node).type_ {
                    NodeTag::T_ExecuteStmt => return Some(node.cast()),
                    NodeTag::T_ExplainStmt => (*node.cast::<pg_sys::ExplainStmt>()).query,
                    NodeTag::T_CreateTableAsStmt => {
                        (*node.cast::<pg_sys::CreateTableAsStmt>()).query
                    }
                    _ => return None,
                };
                if query.is_null() || (*query).type_ != NodeTag::T_Query {
                    return None;
                }
                node = (*query.cast::<pg_sys::Query>()).utilityStmt;
                if node.is_null() {
                    return None;
                }
            }
        }
    }

    /// Whether it is a CALL or contains an EXECUTE.
    pub fn has_arguments(&self) -> bool {
        self.tag() == NodeTag::T_CallStmt || self.execute().is_some()
    }

    /// Returns the statement with the calls in its arguments redirected; `None` if there are none to redirect. For
    /// EXECUTE, and CALL of a procedure that runs here.
    pub fn with_redirected_arguments<R: FunctionRules>(
        &self,
        may_move: impl Fn(Oid) -> Result<bool>,
    ) -> Result<Option<Self>> {
        // SAFETY: the tag says what the node is; only the copy is changed.
        unsafe {
            match self.tag() {
                _ if self.execute().is_some() => {
                    let named = |statement: &Self| {
                        let calls =
                            statement.execute().map(|execute| raw_calls((*execute).params.cast()));
                        calls
                            .into_iter()
                            .flatten()
                            .filter_map(|call| Some((R::target_of_name(&call.name)?, call)))
                            .collect::<Vec<_>>()
                    };
                    if named(self).is_empty() {
                        return Ok(None);
                    }
                    let copy = self.copy();
                    for ((schema, name), call) in named(&copy) {
                        let [schema, name] = [schema, name]
                            .map(|part| pg_sys::makeString(parse_nodes::palloc_text(part)));
                        let list = pg_sys::lappend(ptr::null_mut(), schema.cast());
                        (*call.call).funcname = pg_sys::lappend(list, name.cast());
                    }
                    Ok(Some(copy))
                }
                NodeTag::T_CallStmt => {
                    let expression = |statement: &Self| {
                        (*statement.node::<pg_sys::CallStmt>()).funcexpr.cast::<pg_sys::Node>()
                    };
                    if !survey_expression::<R>(expression(self)).is_redirectable() {
                        return Ok(None);
                    }
                    let copy = self.copy();
                    survey_expression::<R>(expression(&copy)).redirect::<R>(may_move)?;
                    Ok(Some(copy))
                }
                _ => Ok(None),
            }
        }
    }

    /// Calls in the arguments of EXECUTE.
    pub fn argument_calls(&self) -> Vec<RawCall> {
        // SAFETY: the tag says what the node is.
        unsafe {
            self.execute().map_or_else(Vec::new, |execute| raw_calls((*execute).params.cast()))
        }
    }

    /// Calls that ALTER TABLE makes for each row: in USING, and in defaults of new columns.
    pub fn rewriting_calls(&self) -> Vec<RawCall> {
        use pg_sys::AlterTableType;
        if self.tag() != NodeTag::T_AlterTableStmt {
            return Vec::new();
        }
        let mut calls = Vec::new();
        // SAFETY: the tags say what the nodes are; these two commands have a column's definition.
        unsafe {
            for command in list::members::<pg_sys::AlterTableCmd>(
                (*self.node::<pg_sys::AlterTableStmt>()).cmds,
            ) {
                if !matches!(
                    (*command).subtype,
                    AlterTableType::AT_AddColumn | AlterTableType::AT_AlterColumnType
                ) {
                    continue;
                }
                let column = (*command).def.cast::<pg_sys::ColumnDef>();
                calls.extend(raw_calls((*column).raw_default));
                for constraint in list::iter::<pg_sys::Constraint>((*column).constraints) {
                    calls.extend(raw_calls((*constraint).raw_expr));
                }
            }
        }
        calls
    }
}

/// # Safety
/// `node` is null or a valid raw expression, or a list of some.
unsafe fn raw_calls(node: *mut pg_sys::Node) -> Vec<RawCall> {
    let mut calls = Vec::new();
    // SAFETY: by the caller's promise; the context outlives the walk.
    unsafe { visit(node, ptr::from_mut(&mut calls).cast()) };
    calls
}

unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is the list of `raw_calls`; the casts follow the node tags.
    unsafe {
        if (*node).type_ == NodeTag::T_FuncCall {
            let call = node.cast::<pg_sys::FuncCall>();
            let names = list::members::<pg_sys::Node>((*call).funcname);
            let mut names = names.into_iter().filter_map(|name| parse_nodes::string(name));
            let name = match (names.next(), names.next(), names.next()) {
                (Some(name), None, _) => Some(name),
                (Some(schema), Some(name), None) if schema == "pg_catalog" => Some(name),
                _ => None,
            };
            if let Some(name) = name {
                (*context.cast::<Vec<RawCall>>()).push(RawCall { call, name });
            }
        }
        raw_expression_tree_walker(node, visit, context)
    }
}
