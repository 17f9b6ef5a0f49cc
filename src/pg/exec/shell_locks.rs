//! Takes the locks of commands that process the rows or files of relations on their shells.
//!
//! The node does the work and locks its own tables. The shells are locked first, so that two transactions meet in this
//! server's lock queue, where a deadlock is detected, and not one here and one on the node.

use crate::pg::catalog::names::inheritors;
use crate::pg::tree::list;
use crate::pg::tree::statement::{RelationTarget, Statement};
use pgrx::pg_sys::{self, NodeTag, Oid};

// In some versions the server's own constants have a narrower type than AclMode.
const ACL_TRUNCATE: pg_sys::AclMode = 1 << 4;
#[cfg(any(feature = "pg17", feature = "pg18"))]
const ACL_MAINTAIN: pg_sys::AclMode = 1 << 14;

impl Statement {
    /// Locks the listed relations, and those that PostgreSQL would lock with them, until the transaction ends.
    /// Relations without permission are skipped: the node raises the error.
    pub fn lock_shells(&self, targets: &[&RelationTarget]) {
        let Some(mode) = self.lock_mode() else { return };
        let mut truncated = Vec::new();
        for item in targets {
            let Some(relation) = item.relation.filter(|&relation| self.may_lock(relation)) else {
                continue;
            };
            if self.tag() == NodeTag::T_TruncateStmt && !item.only {
                truncated.extend(inheritors(relation));
            } else if self.tag() == NodeTag::T_TruncateStmt {
                truncated.push(relation);
            }
            // SAFETY: no pointers but a null one; the locks are released by the end of the transaction.
            unsafe {
                let index_of = pg_sys::IndexGetRelation(relation, true);
                if index_of != pg_sys::InvalidOid {
                    let share = pg_sys::ShareLock as pg_sys::LOCKMODE;
                    pg_sys::LockRelationOid(index_of, mode.min(share));
                }
                pg_sys::LockRelationOid(relation, mode);
            }
        }
        if !truncated.is_empty() {
            self.lock_truncated(truncated, mode);
        }
    }

    /// The relations affected by TRUNCATE … RESTART IDENTITY CASCADE, including those listed.
    fn lock_truncated(&self, mut truncated: Vec<Oid>, mode: pg_sys::LOCKMODE) {
        let node = self.node::<pg_sys::TruncateStmt>();
        // SAFETY: only TRUNCATE gets here; the functions read the catalogs and return lists of OIDs.
        unsafe {
            for &relation in &truncated {
                pg_sys::LockRelationOid(relation, mode);
            }
            let cascade = (*node).behavior == pg_sys::DropBehavior::DROP_CASCADE;
            let mut more = if cascade { truncated.clone() } else { Vec::new() };
            while !more.is_empty() {
                let known = truncated.iter().fold(std::ptr::null_mut(), |list, &relation| {
                    pg_sys::lappend_oid(list, relation)
                });
                let referring = crate::pg::tree::list::oids(pg_sys::heap_truncate_find_FKs(known));
                more = referring.filter(|&relation| self.may_lock(relation)).collect();
                for &relation in &more {
                    pg_sys::LockRelationOid(relation, mode);
                }
                truncated.extend(&more);
            }
            if (*node).restart_seqs {
                for relation in truncated {
                    for sequence in crate::pg::tree::list::oids(pg_sys::getOwnedSequences(relation))
                    {
                        pg_sys::LockRelationOid(sequence, mode);
                    }
                }
            }
        }
    }

    /// The lock mode of the command; None if it does not wait for locks.
    fn lock_mode(&self) -> Option<pg_sys::LOCKMODE> {
        // SAFETY: the tag says what the node is.
        let mode = unsafe {
            match self.tag() {
                NodeTag::T_TruncateStmt | NodeTag::T_ClusterStmt => pg_sys::AccessExclusiveLock,
                NodeTag::T_RefreshMatViewStmt => {
                    match (*self.node::<pg_sys::RefreshMatViewStmt>()).concurrent {
                        true => pg_sys::ExclusiveLock,
                        false => pg_sys::AccessExclusiveLock,
                    }
                }
                NodeTag::T_ReindexStmt => {
                    let node = self.node::<pg_sys::ReindexStmt>();
                    let is_index = (*node).kind == pg_sys::ReindexObjectType::REINDEX_OBJECT_INDEX;
                    match (has_option((*node).params, c"concurrently"), is_index) {
                        (true, _) => pg_sys::ShareUpdateExclusiveLock,
                        (false, true) => pg_sys::AccessExclusiveLock,
                        (false, false) => pg_sys::ShareLock,
                    }
                }
                NodeTag::T_VacuumStmt => {
                    let options = (*self.node::<pg_sys::VacuumStmt>()).options;
                    if has_option(options, c"skip_locked") {
                        return None;
                    }
                    match has_option(options, c"full") {
                        true => pg_sys::AccessExclusiveLock,
                        false => pg_sys::ShareUpdateExclusiveLock,
                    }
                }
                _ => return None,
            }
        };
        Some(mode as pg_sys::LOCKMODE)
    }

    /// Whether the current user has permission for the command; nobody else may block others.
    fn may_lock(&self, relation: Oid) -> bool {
        // SAFETY: syscache lookups.
        unsafe {
            let user = pg_sys::GetUserId();
            let granted = |right: pg_sys::AclMode| {
                pg_sys::pg_class_aclcheck(relation, user, right) == pg_sys::AclResult::ACLCHECK_OK
            };
            if self.tag() == NodeTag::T_TruncateStmt {
                return granted(ACL_TRUNCATE);
            }
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            if granted(ACL_MAINTAIN) {
                return true;
            }
            #[cfg(feature = "pg15")]
            return pg_sys::pg_class_ownercheck(relation, user);
            #[cfg(not(feature = "pg15"))]
            pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, user)
        }
    }
}

/// # Safety
/// A valid list of DefElems.
unsafe fn has_option(options: *mut pg_sys::List, name: &std::ffi::CStr) -> bool {
    // SAFETY: by the caller's promise; names are NUL-terminated, and an option without a value is on.
    unsafe {
        list::iter::<pg_sys::DefElem>(options).any(|option| {
            std::ffi::CStr::from_ptr((*option).defname) == name && pg_sys::defGetBoolean(option)
        })
    }
}
