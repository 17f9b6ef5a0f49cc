//! A query tree passed to a hook by PostgreSQL.

use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::list;
use crate::pg::tree::survey::{Survey, survey_expression};
use pgrx::pg_sys::{self, NodeTag};
use std::marker::PhantomData;
use std::ptr::NonNull;

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
