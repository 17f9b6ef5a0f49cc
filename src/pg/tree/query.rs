//! A query tree passed to a hook by PostgreSQL.

use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::list;
use crate::pg::tree::survey::{
    Survey, expression_tree_walker, query_tree_walker, survey_expression,
};
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// An analyzed query passed to a hook by PostgreSQL.
#[derive(Clone, Copy)]
pub struct QueryTree<'a> {
    query: NonNull<pg_sys::Query>,
    lifetime: PhantomData<&'a pg_sys::Query>,
}

impl<'a> QueryTree<'a> {
    /// A view of a query, none of a null pointer.
    ///
    /// # Safety
    /// `query` is null or a valid analyzed query that outlives `'a`.
    pub unsafe fn new(query: *mut pg_sys::Query) -> Option<Self> {
        NonNull::new(query).map(|query| Self { query, lifetime: PhantomData })
    }

    /// The tree itself, for the rest of this module.
    pub(in crate::pg) fn as_ptr(self) -> *mut pg_sys::Query {
        self.query.as_ptr()
    }

    fn get(&self) -> &'a pg_sys::Query {
        // SAFETY: valid for 'a by the promise of `new`.
        unsafe { self.query.as_ref() }
    }

    /// A copy of it, in the same memory context as what the planner makes.
    pub fn copy(self) -> Self {
        // SAFETY: a valid query; the copy lives as long as the planner's memory, as the query does.
        let copy = unsafe { pg_sys::copyObjectImpl(self.as_ptr().cast()) };
        Self { query: NonNull::new(copy.cast()).unwrap_or(self.query), lifetime: PhantomData }
    }

    /// Whether everything in it is checked with the privileges of the current user: it names no view with its owner's.
    pub fn is_checked_as_caller(self) -> bool {
        // SAFETY: a valid query.
        unsafe { !checks_as_other(self.as_ptr().cast(), ptr::null_mut()) }
    }

    /// Whether this is a utility statement, which is not planned.
    pub fn is_utility(self) -> bool {
        self.get().commandType == pg_sys::CmdType::CMD_UTILITY
    }

    /// Whether it changes data or locks rows.
    pub fn writes(self) -> bool {
        let q = self.get();
        q.commandType != pg_sys::CmdType::CMD_SELECT || q.hasModifyingCTE || q.hasForUpdate
    }

    /// Whether a rewritten query has a meaning that its deparsed text would not have: check options of a view,
    /// row-level security with the privileges of a view's owner, or a view as the target of UPDATE, DELETE or MERGE.
    pub fn cannot_be_deparsed(self) -> bool {
        use pg_sys::CmdType::{CMD_INSERT, CMD_SELECT};
        let q = self.get();
        !q.withCheckOptions.is_null()
            || q.hasRowSecurity
            || !matches!(q.commandType, CMD_SELECT | CMD_INSERT)
    }

    /// Whether what is written is a table that the statement names itself: its checks are those of row-level security, which the
    /// node adds by itself.
    pub fn changes_named_table(self) -> bool {
        // SAFETY: a valid query; its checks are a list of WithCheckOption, its range table one of entries.
        unsafe {
            let query = self.get();
            let target = query.resultRelation as usize;
            let mut checks = list::iter::<pg_sys::WithCheckOption>(query.withCheckOptions);
            if target == 0 || checks.any(|check| (*check).kind == pg_sys::WCOKind::WCO_VIEW_CHECK) {
                return false;
            }
            let entry = list::nth::<pg_sys::RangeTblEntry>(query.rtable, target - 1);
            (*entry).relkind as u8 != pg_sys::RELKIND_VIEW && is_checked_as_caller(query, entry)
        }
    }

    /// Whether the text of the rewritten query, run by the current user, means what the query does: what it changes is a table
    /// that it names itself, and so with its WITH queries; and no row security chooses rows for a view's owner.
    pub fn means_its_text(self) -> bool {
        // SAFETY: a valid query, whose WITH list is of CommonTableExpr.
        unsafe {
            let mut ctes = list::iter::<pg_sys::CommonTableExpr>(self.get().cteList);
            (!self.cannot_be_deparsed() || self.changes_named_table())
                && (!self.get().hasRowSecurity || self.is_checked_as_caller())
                && ctes.all(|cte| {
                    let query = QueryTree::new((*cte).ctequery.cast());
                    query.is_none_or(|query| !query.is_change() || query.means_its_text())
                })
        }
    }

    fn is_change(self) -> bool {
        self.get().resultRelation > 0
    }

    /// Whether this is a procedural language's assignment to an array element or record field, which cannot be written
    /// as a query.
    pub fn assigns_element(self) -> bool {
        // SAFETY: a valid target list; the casts follow the tags.
        unsafe {
            self.get().commandType == pg_sys::CmdType::CMD_SELECT
                && list::iter::<pg_sys::TargetEntry>(self.get().targetList).any(|entry| {
                    let expr = (*entry).expr.cast::<pg_sys::Node>();
                    match (*expr).type_ {
                        NodeTag::T_FieldStore => true,
                        NodeTag::T_SubscriptingRef => {
                            !(*expr.cast::<pg_sys::SubscriptingRef>()).refassgnexpr.is_null()
                        }
                        _ => false,
                    }
                })
        }
    }

    /// Its origin: the client's statement or a rule.
    pub fn source(self) -> Source {
        let q = self.get();
        match q.querySource {
            pg_sys::QuerySource::QSRC_ORIGINAL | pg_sys::QuerySource::QSRC_PARSER => {
                Source::Statement
            }
            pg_sys::QuerySource::QSRC_INSTEAD_RULE if q.canSetTag => Source::Statement,
            pg_sys::QuerySource::QSRC_INSTEAD_RULE => Source::InsteadRule,
            _ => Source::AlsoRule,
        }
    }

    /// Byte offset and length of the statement in its source text; length 0 means to the end, offset -1 unknown.
    pub fn location(self) -> (i32, i32) {
        (self.get().stmt_location, self.get().stmt_len)
    }

    /// Whether it neither names a relation nor calls anything that could be elsewhere: a cheap test before a survey.
    pub fn is_trivial(self) -> bool {
        let q = self.get();
        q.rtable.is_null() && q.targetList.is_null()
    }

    /// Walks the whole tree, including sub-selects and CTEs.
    pub fn survey<R: FunctionRules>(self) -> Survey<'a> {
        // SAFETY: by the promise of `new` for 'a; a query is a node.
        unsafe { survey_expression::<R>(self.query.as_ptr().cast()) }
    }
}

/// Origin of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The statement itself, or the rule's query that replaces it.
    Statement,
    /// Another query of an INSTEAD rule.
    InsteadRule,
    /// A query that a rule runs in addition to the statement.
    AlsoRule,
}

/// Whether an entry is checked with the privileges of the current user, and not with those of a view's owner.
///
/// # Safety
/// Both are valid and belong together.
unsafe fn is_checked_as_caller(query: &pg_sys::Query, entry: *const pg_sys::RangeTblEntry) -> bool {
    #[cfg(feature = "pg15")]
    {
        let _ = query;
        // SAFETY: by the caller's promise.
        unsafe { (*entry).checkAsUser == pg_sys::Oid::INVALID }
    }
    #[cfg(not(feature = "pg15"))]
    {
        // SAFETY: by the caller's promise: the number is that of a member of the list.
        unsafe {
            let number = (*entry).perminfoindex as usize;
            number == 0 || {
                let info = list::nth::<pg_sys::RTEPermissionInfo>(query.rteperminfos, number - 1);
                (*info).checkAsUser == pg_sys::Oid::INVALID
            }
        }
    }
}

unsafe extern "C-unwind" fn checks_as_other(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; the cast follows the tag.
    unsafe {
        if (*node).type_ != NodeTag::T_Query {
            return expression_tree_walker(node, checks_as_other, context);
        }
        let query = &mut *node.cast::<pg_sys::Query>();
        let entries = list::iter::<pg_sys::RangeTblEntry>(query.rtable);
        let mut relations =
            entries.filter(|&entry| (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION);
        relations.any(|entry| !is_checked_as_caller(query, entry))
            || query_tree_walker(query, checks_as_other, context, 0)
    }
}
