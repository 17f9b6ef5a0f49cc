//! Finds out what a query touches in one walk over its tree.

use crate::error::Result;
use crate::pg::catalog::object::{FIRST_USER_OID, Object};
use crate::pg::tree::cursor_name::{self, CursorName};
use crate::pg::tree::function_rules::{FunctionRules, RelationAccess};
use crate::pg::tree::object_numbers::{self, OidMisuse, Verdict};
use crate::pg::tree::{list, parse_nodes, table_numbers};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

pub(in crate::pg) type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;

// The walkers call back into Rust for every parse node, without a guard (a sigsetjmp each) in between. The callback's
// frames have no destructors, so an error of the walker may propagate through them.
unsafe extern "C-unwind" {
    #[cfg_attr(not(feature = "pg15"), link_name = "query_tree_walker_impl")]
    pub(in crate::pg) fn query_tree_walker(
        query: *mut pg_sys::Query,
        walker: Walker,
        context: *mut c_void,
        flags: c_int,
    ) -> bool;
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_walker_impl")]
    pub(in crate::pg) fn expression_tree_walker(
        node: *mut pg_sys::Node,
        walker: Walker,
        context: *mut c_void,
    ) -> bool;
}

/// A relation named in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationUse {
    /// Its OID.
    pub oid: Oid,
    /// `pg_class.relkind`.
    pub kind: u8,
    /// Whether the query changes or locks its rows.
    pub write: bool,
    /// Whether only row-level security policies name it.
    pub in_policies: bool,
}

/// A reference to a parameter from outside the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamUse {
    /// Number, from 1.
    pub id: i32,
    /// Its type.
    pub of_type: u32,
    /// Byte offset in the source text; negative if unknown.
    pub location: i32,
}

/// What a query touches.
#[derive(Debug, Default)]
pub struct Survey<'a> {
    /// Relations, without duplicates.
    pub relations: Vec<RelationUse>,
    /// Functions that are not built in, without duplicates.
    pub functions: Vec<Oid>,
    /// Types of constants and casts, and collations, that are not built in.
    pub named: Vec<Object>,
    /// Types of whole rows, without duplicates.
    pub row_types: Vec<Oid>,
    /// Names of transition tables of triggers, which only this server has.
    pub transition_tables: Vec<String>,
    /// Constant relation arguments of functions that read or change their data (`nextval`, `pg_relation_size`, …).
    pub data_arguments: Vec<RelationUse>,
    /// Parameters, in tree order.
    pub params: Vec<ParamUse>,
    /// `lastval()` is called, which refers to the sequence used last.
    pub lastval: bool,
    /// The cursors of `WHERE CURRENT OF`, without duplicates.
    pub cursors: Vec<CursorName>,
    /// `set_config()` is called, which may change the session's settings.
    pub set_config: bool,
    /// The first function called that acts on, or returns information about, the session or server it runs on.
    pub bound: Option<Oid>,
    /// `tableoid` is used as a number, which would be different on a node.
    pub table_number: bool,
    /// An object's OID is given, or would be visible.
    pub object_number: Option<OidMisuse>,
    /// `session_user` is read.
    pub session_user: bool,
    /// Calls that [`Survey::redirect`] can redirect, with the relation that is their argument if it is
    /// a constant.
    redirectable: Vec<(*mut pg_sys::FuncExpr, Option<Oid>)>,
    /// Lists of policy conditions to be walked.
    policies: Vec<*mut pg_sys::Node>,
    /// Whether the walk is inside one.
    in_policy: bool,
    /// The pointers above lead into the tree that was surveyed.
    tree: PhantomData<&'a pg_sys::Query>,
}

/// Walks a query or an expression, including sub-selects and CTEs.
///
/// # Safety
/// `node` is null, a valid query or a valid expression, and outlives `'a`.
pub(in crate::pg) unsafe fn survey_expression<'a, R: FunctionRules>(
    node: *mut pg_sys::Node,
) -> Survey<'a> {
    let mut survey = Survey::default();
    // SAFETY: by the caller's promise; the context outlives the walk.
    unsafe { visit::<R>(node, ptr::from_mut(&mut survey).cast()) };
    survey
}

impl Survey<'_> {
    /// Turns calls whose effect on nodes only the call itself shows to functions that take care of it, and those of
    /// relations that `may_move`. For a query that PostgreSQL is about to plan here.
    pub fn redirect<R: FunctionRules>(&self, may_move: impl Fn(Oid) -> Result<bool>) -> Result<()> {
        for &(call, relation) in &self.redirectable {
            if let Some(relation) = relation
                && !may_move(relation)?
            {
                continue;
            }
            // SAFETY: nodes of the tree that was surveyed, which the planner may change.
            unsafe {
                if let Some(target) = R::target((*call).funcid) {
                    (*call).funcid = target;
                }
            }
        }
        Ok(())
    }

    /// Whether [`Self::redirect`] has anything to do.
    pub fn is_redirectable(&self) -> bool {
        !self.redirectable.is_empty()
    }

    /// Whether a sequence function is called with an argument known at run time only.
    pub fn names_at_run_time(&self) -> bool {
        self.redirectable.iter().any(|(_, relation)| relation.is_none())
    }

    /// Walks an expression as well.
    ///
    /// # Safety
    /// `node` is null or a valid expression that lives as long as what was surveyed before.
    pub(in crate::pg) unsafe fn add_expression<R: FunctionRules>(
        &mut self,
        node: *mut pg_sys::Node,
    ) {
        // SAFETY: by the caller's promise; the context outlives the walk.
        unsafe { visit::<R>(node, ptr::from_mut(self).cast()) };
    }

    /// Whether a volatile function that is not built in is called.
    pub fn calls_volatile_function(&self) -> bool {
        // SAFETY: syscache lookups.
        self.functions.iter().any(|&f| unsafe { pg_sys::func_volatile(f) } as u8 == b'v')
    }

    fn add_relation(&mut self, oid: Oid, kind: u8, write: bool) {
        match self.relations.iter_mut().find(|r| r.oid == oid) {
            Some(known) => {
                known.write |= write;
                known.in_policies &= self.in_policy;
            }
            None => {
                let in_policies = self.in_policy;
                self.relations.push(RelationUse { oid, kind, write, in_policies });
            }
        }
    }

    #[inline]
    fn add_named(&mut self, object: Object) {
        if object.id.to_u32() >= FIRST_USER_OID && !self.named.contains(&object) {
            self.named.push(object);
        }
    }

    fn add_function<R: FunctionRules>(&mut self, oid: Oid) {
        match oid.to_u32() {
            pg_sys::F_LASTVAL => self.lastval = true,
            pg_sys::F_SESSION_USER => self.session_user = true,
            pg_sys::F_SET_CONFIG => self.set_config = true,
            user if user >= FIRST_USER_OID => {
                if !self.functions.contains(&oid) {
                    self.functions.push(oid);
                }
            }
            _ => self.bound = self.bound.or_else(|| R::is_bound(oid).then_some(oid)),
        }
    }
}

/// Whether a range table entry represents a relation named in the statement. Since version 16 a view's entry is a
/// subquery after rewriting that still identifies the view; up to 15 there is an additional unused entry.
pub(in crate::pg) fn names_relation(entry: &pg_sys::RangeTblEntry) -> bool {
    match entry.rtekind {
        // Up to version 15 the query of a materialized view has entries for the view itself, which it does not read.
        pg_sys::RTEKind::RTE_RELATION => {
            entry.inFromCl || entry.relkind as u8 != pg_sys::RELKIND_MATVIEW
        }
        pg_sys::RTEKind::RTE_SUBQUERY => entry.relid != Oid::INVALID,
        _ => false,
    }
}

unsafe extern "C-unwind" fn visit<R: FunctionRules>(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is the Survey of `survey`; the casts follow the node tags.
    unsafe {
        let survey = &mut *context.cast::<Survey>();
        match object_numbers::judge(node) {
            Verdict::Fine => (),
            Verdict::Misused(how) => survey.object_number = survey.object_number.or(Some(how)),
            Verdict::Consumes => return visit_consumer::<R>(node, context),
        }
        match (*node).type_ {
            NodeTag::T_Query => {
                // Range table entries are visited before their contents.
                let flags = pg_sys::QTW_EXAMINE_RTES_BEFORE as c_int;
                return query_tree_walker(node.cast(), visit::<R>, context, flags);
            }
            NodeTag::T_RangeTblEntry => {
                let rte = &*node.cast::<pg_sys::RangeTblEntry>();
                if names_relation(rte) {
                    let write = rte.rellockmode >= pg_sys::RowShareLock as c_int;
                    // The entry of an expanded view no longer says that it is one.
                    let view = rte.rtekind == pg_sys::RTEKind::RTE_SUBQUERY;
                    let kind = if view { b'v' } else { rte.relkind as u8 };
                    survey.add_relation(rte.relid, kind, write && !view);
                }
                if rte.rtekind == pg_sys::RTEKind::RTE_NAMEDTUPLESTORE {
                    survey.transition_tables.extend(parse_nodes::text(rte.enrname));
                }
                if !rte.securityQuals.is_null() {
                    survey.policies.push(rte.securityQuals.cast());
                }
                // The walker itself descends into the entry.
                return false;
            }
            NodeTag::T_List if survey.policies.contains(&node) => {
                return visit_policy::<R>(node, context);
            }
            NodeTag::T_WithCheckOption => {
                let check = &*node.cast::<pg_sys::WithCheckOption>();
                if check.kind != pg_sys::WCOKind::WCO_VIEW_CHECK {
                    return visit_policy::<R>(check.qual, context);
                }
            }
            NodeTag::T_Var => {
                let var = &*node.cast::<pg_sys::Var>();
                if var.varattno == 0 && !survey.row_types.contains(&var.vartype) {
                    survey.row_types.push(var.vartype);
                }
                survey.table_number |= table_numbers::is_one(node);
            }
            NodeTag::T_Param => {
                let param = &*node.cast::<pg_sys::Param>();
                if param.paramkind == pg_sys::ParamKind::PARAM_EXTERN {
                    survey.params.push(ParamUse {
                        id: param.paramid,
                        of_type: param.paramtype.to_u32(),
                        location: param.location,
                    });
                }
                return false;
            }
            _ if table_numbers::is_named(node) => return false,
            NodeTag::T_OpExpr if table_numbers::is_comparison(node.cast()) => {
                // Both OIDs are the node's; other operands are still checked.
                pg_sys::check_functions_in_node(node, Some(note_function::<R>), context);
                return table_numbers::others(node.cast())
                    .any(|other| visit::<R>(object_numbers::name_of_conversion(other), context));
            }
            NodeTag::T_Const => {
                survey.add_named(Object::of_type((*node.cast::<pg_sys::Const>()).consttype));
                return false;
            }
            NodeTag::T_CoerceViaIO => {
                let cast = &*node.cast::<pg_sys::CoerceViaIO>();
                survey.add_named(Object::of_type(cast.resulttype));
            }
            NodeTag::T_CollateExpr => {
                let collate = &*node.cast::<pg_sys::CollateExpr>();
                survey.add_named(Object::of_collation(collate.collOid));
            }
            NodeTag::T_CurrentOfExpr => {
                let cursor = cursor_name::name(node.cast());
                if !survey.cursors.contains(&cursor) {
                    survey.cursors.push(cursor);
                }
            }
            NodeTag::T_SQLValueFunction => {
                let op = (*node.cast::<pg_sys::SQLValueFunction>()).op;
                survey.session_user |= op == pg_sys::SQLValueFunctionOp::SVFOP_SESSION_USER;
            }
            NodeTag::T_NextValueExpr => {
                let next = &*node.cast::<pg_sys::NextValueExpr>();
                note_data_argument(survey, next.seqid, true);
            }
            NodeTag::T_FuncExpr => {
                let call = &*node.cast::<pg_sys::FuncExpr>();
                let function = R::original(call.funcid);
                survey.add_function::<R>(function);
                let access = R::relation_access(function);
                let constant = access.and_then(|_| constant_relation(call));
                if let Some((relation, access)) = constant.zip(access) {
                    note_data_argument(survey, relation, access == RelationAccess::Changes);
                }
                if R::is_redirected(function) {
                    survey.redirectable.push((node.cast(), constant));
                }
            }
            NodeTag::T_OpExpr if (*node.cast::<pg_sys::OpExpr>()).opfuncid != Oid::INVALID => {
                survey.add_function::<R>((*node.cast::<pg_sys::OpExpr>()).opfuncid);
            }
            // The most frequent nodes that call nothing themselves.
            NodeTag::T_List
            | NodeTag::T_TargetEntry
            | NodeTag::T_FromExpr
            | NodeTag::T_RangeTblRef
            | NodeTag::T_BoolExpr => {}
            _ => {
                pg_sys::check_functions_in_node(node, Some(note_function::<R>), context);
            }
        }
        expression_tree_walker(node, visit::<R>, context)
    }
}

/// Visits the conditions of policies.
unsafe fn visit_policy<R: FunctionRules>(
    conditions: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    // SAFETY: `visit` was called with the node that has them, and with this context, the Survey of `survey`.
    unsafe {
        let within = std::mem::replace(&mut (*context.cast::<Survey>()).in_policy, true);
        let stop = match (*conditions).type_ {
            NodeTag::T_List => expression_tree_walker(conditions, visit::<R>, context),
            _ => visit::<R>(conditions, context),
        };
        (*context.cast::<Survey>()).in_policy = within;
        stop
    }
}

/// Visits nodes that take OIDs of objects, and the expressions that compute them.
unsafe fn visit_consumer<R: FunctionRules>(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    unsafe extern "C-unwind" fn visit_names<R: FunctionRules>(
        node: *mut pg_sys::Node,
        context: *mut c_void,
    ) -> bool {
        // SAFETY: as in `visit`.
        unsafe { !node.is_null() && visit::<R>(object_numbers::name_of_conversion(node), context) }
    }
    // SAFETY: a node that `visit` was called with. Its children are its arguments, in a list.
    unsafe {
        pg_sys::check_functions_in_node(node, Some(note_function::<R>), context);
        expression_tree_walker(node, visit_names::<R>, context)
    }
}

unsafe extern "C-unwind" fn note_function<R: FunctionRules>(
    oid: Oid,
    context: *mut c_void,
) -> bool {
    // SAFETY: `context` is the Survey of `survey`.
    unsafe { (*context.cast::<Survey>()).add_function::<R>(oid) };
    false
}

fn note_data_argument(survey: &mut Survey, oid: Oid, write: bool) {
    // SAFETY: a syscache lookup.
    let kind = unsafe { pg_sys::get_rel_relkind(oid) } as u8;
    let in_policies = survey.in_policy;
    survey.data_arguments.push(RelationUse { oid, kind, write, in_policies });
}

/// The relation that is a call's first argument, if it is a constant.
///
/// # Safety
/// `call` is a valid node.
unsafe fn constant_relation(call: &pg_sys::FuncExpr) -> Option<Oid> {
    // SAFETY: a valid argument list; the cast follows the tag.
    unsafe {
        if call.args.is_null() {
            return None;
        }
        let argument = list::nth::<pg_sys::Node>(call.args, 0);
        if (*argument).type_ != NodeTag::T_Const {
            return None;
        }
        let constant = &*argument.cast::<pg_sys::Const>();
        let is_relation = matches!(constant.consttype, pg_sys::REGCLASSOID | pg_sys::OIDOID);
        (is_relation && !constant.constisnull)
            .then(|| Oid::from(constant.constvalue.value() as u32))
    }
}
