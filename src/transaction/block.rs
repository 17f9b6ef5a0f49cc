//! State of a node's transaction relative to the local one. Pure bookkeeping: actions of the local transaction are
//! recorded here, and turned into commands when the node is needed again.

/// A step to be confirmed by a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// BEGIN.
    Begin,
    /// SET TRANSACTION READ ONLY.
    ReadOnly,
    /// SAVEPOINT of this nesting level.
    Savepoint(u32),
    /// ROLLBACK TO the savepoint of this nesting level.
    RollbackTo(u32),
    /// RELEASE of the savepoint of this nesting level.
    Release(u32),
}

/// The transaction of one session on a node.
#[derive(Debug, Default)]
pub struct Block {
    /// Nesting level confirmed by the node: 0 for no transaction, 1 for BEGIN, n with n − 1 savepoints.
    level: u32,
    /// Level whose savepoint must be rolled back and released before anything else.
    rollback: Option<u32>,
    /// Level that must be released after that.
    release: Option<u32>,
    read_only: bool,
    /// The outermost level at which a writing statement was sent.
    wrote: Option<u32>,
    /// The outermost level with work that is committed after the local transaction.
    afterwards: Option<u32>,
    /// The node's own transaction ID, once it is known to have one.
    pub xid: Option<u64>,
}

impl Block {
    /// Whether the node has begun a transaction.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.level > 0
    }

    /// The nesting level after all recorded steps have been performed.
    pub fn level(&self) -> u32 {
        match (self.release, self.rollback) {
            (Some(level), _) | (None, Some(level)) => level - 1,
            _ => self.level,
        }
    }

    /// Records that a writing statement is sent at this level.
    pub fn writes(&mut self, level: u32) {
        self.wrote = Some(self.wrote.map_or(level, |wrote| wrote.min(level)));
    }

    /// Whether a writing statement was sent that has not been rolled back.
    pub fn wrote(&self) -> bool {
        self.wrote.is_some()
    }

    /// Records that work at this level is committed after the local transaction.
    pub fn commits_afterwards(&mut self, level: u32) {
        self.afterwards = Some(self.afterwards.map_or(level, |outer| outer.min(level)));
    }

    /// Whether the node's transaction is committed after the local one.
    pub fn is_afterwards(&self) -> bool {
        self.afterwards.is_some()
    }

    /// Records the abort of the local subtransaction at this level.
    pub fn rolled_back(&mut self, level: u32) {
        self.afterwards = self.afterwards.filter(|outer| *outer < level);
        self.wrote = self.wrote.filter(|wrote| *wrote < level);
        if level > 1 && self.level() >= level {
            self.rollback = Some(level);
            self.release = None;
        }
    }

    /// Records the commit of the local subtransaction at this level.
    pub fn released(&mut self, level: u32) {
        self.afterwards = self.afterwards.map(|outer| outer.min(level - 1));
        self.wrote = self.wrote.map(|wrote| wrote.min(level - 1));
        if level > 1 && self.level() >= level {
            self.release = Some(level);
        }
    }

    /// The step that rolls back aborted subtransactions; all that is needed before COMMIT.
    pub fn pending_rollback(&self) -> Option<Step> {
        self.rollback.map(Step::RollbackTo)
    }

    /// The steps that roll back aborted subtransactions and remove their savepoints.
    pub fn undo(&self) -> Option<[Step; 2]> {
        self.rollback.map(|level| [Step::RollbackTo(level), Step::Release(level)])
    }

    /// Calls `send` with each step that brings the node to the local transaction's level.
    pub fn steps<E>(
        &self,
        wanted: u32,
        read_only: bool,
        mut send: impl FnMut(Step) -> Result<(), E>,
    ) -> Result<(), E> {
        for step in self.undo().into_iter().flatten() {
            send(step)?;
        }
        if let Some(level) = self.release {
            send(Step::Release(level))?;
        }
        let mut level = self.level();
        if level == 0 {
            send(Step::Begin)?;
            level = 1;
        } else if read_only && !self.read_only {
            send(Step::ReadOnly)?;
        }
        for level in level + 1..=wanted {
            send(Step::Savepoint(level))?;
        }
        Ok(())
    }

    /// Whether [`Self::steps`] would call `send` at all.
    #[inline]
    pub fn is_at(&self, wanted: u32, read_only: bool) -> bool {
        self.level >= wanted.max(1)
            && self.rollback.is_none()
            && self.release.is_none()
            && (self.read_only || !read_only)
    }

    /// Records that the node has performed a step.
    pub fn confirm(&mut self, step: Step, read_only: bool) {
        match step {
            Step::Begin => {
                self.level = 1;
                self.read_only = read_only;
            }
            Step::ReadOnly => self.read_only = true,
            Step::Savepoint(level) => self.level = level,
            Step::RollbackTo(level) => {
                self.level = level;
                self.rollback = None;
                self.read_only = false; // may have been set inside; saying it again is harmless
            }
            Step::Release(level) => {
                self.level = level - 1;
                if self.release == Some(level) {
                    self.release = None;
                }
            }
        }
    }

    /// Records the end of the node's transaction.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catch_up(block: &mut Block, wanted: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        block
            .steps(wanted, false, |step| {
                steps.push(step);
                Ok::<_, ()>(())
            })
            .unwrap();
        steps.iter().for_each(|step| block.confirm(*step, false));
        assert!(block.is_at(wanted, false));
        steps
    }

    #[test]
    fn begins_and_nests_only_as_deep_as_needed() {
        let mut block = Block::default();
        assert_eq!(catch_up(&mut block, 1), [Step::Begin]);
        assert_eq!(catch_up(&mut block, 1), []);
        assert_eq!(catch_up(&mut block, 3), [Step::Savepoint(2), Step::Savepoint(3)]);
    }

    #[test]
    fn an_outer_rollback_covers_everything_inside() {
        let mut block = Block::default();
        catch_up(&mut block, 5);
        block.released(5);
        block.rolled_back(4);
        block.released(3);
        block.rolled_back(2);
        assert_eq!(block.level(), 1);
        assert_eq!(
            catch_up(&mut block, 2),
            [Step::RollbackTo(2), Step::Release(2), Step::Savepoint(2)]
        );
    }

    #[test]
    fn what_was_undone_at_once_is_not_undone_again() {
        let mut block = Block::default();
        catch_up(&mut block, 3);
        block.rolled_back(3);
        block.undo().unwrap().iter().for_each(|step| block.confirm(*step, false));
        assert!(block.undo().is_none() && block.is_at(2, false));
        assert_eq!(catch_up(&mut block, 3), [Step::Savepoint(3)]);
    }

    #[test]
    fn a_release_after_a_rollback_keeps_both() {
        let mut block = Block::default();
        catch_up(&mut block, 4);
        block.rolled_back(4);
        block.released(3);
        block.released(2);
        assert_eq!(
            catch_up(&mut block, 1),
            [Step::RollbackTo(4), Step::Release(4), Step::Release(2)]
        );
    }

    #[test]
    fn levels_that_the_node_never_saw_cost_nothing() {
        let mut block = Block::default();
        catch_up(&mut block, 1);
        block.rolled_back(3);
        block.released(2);
        assert_eq!(catch_up(&mut block, 1), []);
        assert!(block.pending_rollback().is_none());
    }

    #[test]
    fn what_is_rolled_back_was_not_written() {
        let mut block = Block::default();
        catch_up(&mut block, 3);
        block.writes(3);
        block.rolled_back(3);
        assert!(!block.wrote());
        block.writes(3);
        block.released(3);
        block.rolled_back(3);
        assert!(block.wrote(), "it is the parent's now");
        block.rolled_back(2);
        assert!(!block.wrote());
        block.writes(1);
        block.writes(4);
        block.rolled_back(2);
        assert!(block.wrote());
    }

    #[test]
    fn read_only_is_followed_within_a_transaction() {
        let mut block = Block::default();
        catch_up(&mut block, 1);
        assert!(!block.is_at(1, true));
        let mut steps = Vec::new();
        block
            .steps(1, true, |s| {
                steps.push(s);
                Ok::<_, ()>(())
            })
            .unwrap();
        assert_eq!(steps, [Step::ReadOnly]);
    }
}
