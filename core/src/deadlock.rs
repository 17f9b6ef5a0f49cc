//! Detects deadlocks that involve several servers: cycles in the merged wait-for graph.
//!
//! Each server detects its own deadlocks itself; only those with waits on different servers count here. The strongly
//! connected components are found with Tarjan's algorithm (Depth-first search and linear graph algorithms, 1972).

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use std::collections::{BTreeMap, BTreeSet};

/// A transaction, as far as it can be identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transaction {
    /// Of a backend of this server (its PID), including its sessions with nodes.
    Here(i32),
    /// Of another session on a node: node and PID there.
    There(i32, i32),
}

/// A wait observed on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    /// The waiting transaction.
    pub waiter: Transaction,
    /// The transaction that it waits for.
    pub holder: Transaction,
    /// ID of the node; 0 for this server.
    pub server: i32,
}

/// A group of transactions that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// All of the group, in order.
    pub members: Vec<Transaction>,
    /// PID of the local backend to be canceled.
    pub victim: i32,
    /// Whether another local member waits on a node but is not a candidate yet: it may be younger.
    pub early: bool,
}

/// Finds the deadlocks among the waits. `candidates` are backends that can be canceled, with the start of their
/// transactions (in any unit); the youngest candidate of a deadlock is its victim, and of several with the same start
/// the one with the highest PID.
pub fn find(waits: &BTreeSet<Wait>, candidates: &BTreeMap<i32, i64>) -> Vec<Deadlock> {
    let mut graph: DiGraphMap<Transaction, ()> = DiGraphMap::new();
    for wait in waits {
        graph.add_edge(wait.waiter, wait.holder, ());
    }
    let groups = tarjan_scc(&graph).into_iter().filter(|group| group.len() > 1);
    groups
        .filter_map(|group| {
            let members: BTreeSet<Transaction> = group.into_iter().collect();
            let inner: Vec<&Wait> = waits
                .iter()
                .filter(|wait| members.contains(&wait.waiter) && members.contains(&wait.holder))
                .collect();
            let first = inner.first()?.server;
            if inner.iter().all(|wait| wait.server == first) {
                return None; // that server's own deadlock detector sees it
            }
            let early = inner.iter().any(|wait| match wait.waiter {
                Transaction::Here(pid) => wait.server != 0 && !candidates.contains_key(&pid),
                Transaction::There(..) => false,
            });
            let victim = members
                .iter()
                .filter_map(|member| match member {
                    Transaction::Here(pid) => candidates.get(pid).map(|start| (*start, *pid)),
                    Transaction::There(..) => None,
                })
                .max()?;
            Some(Deadlock { members: members.into_iter().collect(), victim: victim.1, early })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Transaction::{Here, There};
    use super::*;
    use proptest::prelude::*;

    fn waits(waits: &[(Transaction, Transaction, i32)]) -> BTreeSet<Wait> {
        waits.iter().map(|&(waiter, holder, server)| Wait { waiter, holder, server }).collect()
    }

    #[test]
    fn two_nodes_and_the_youngest_is_the_victim() {
        let waits = waits(&[(Here(1), Here(2), 1), (Here(2), Here(1), 2)]);
        let found = find(&waits, &BTreeMap::from([(1, 500), (2, 400)]));
        assert_eq!(found, [Deadlock { members: vec![Here(1), Here(2)], victim: 1, early: false }]);
    }

    #[test]
    fn one_that_has_not_waited_for_long_may_be_younger() {
        let waits = waits(&[(Here(1), Here(2), 1), (Here(2), Here(1), 2)]);
        let found = find(&waits, &BTreeMap::from([(1, 500)]));
        assert_eq!(found, [Deadlock { members: vec![Here(1), Here(2)], victim: 1, early: true }]);
    }

    #[test]
    fn one_that_waits_here_never_becomes_a_candidate() {
        let waits = waits(&[(Here(1), Here(2), 1), (Here(2), Here(1), 0)]);
        let found = find(&waits, &BTreeMap::from([(1, 500)]));
        assert_eq!(found, [Deadlock { members: vec![Here(1), Here(2)], victim: 1, early: false }]);
    }

    #[test]
    fn a_deadlock_of_one_server_is_its_own_business() {
        let waits = waits(&[(Here(1), Here(2), 1), (Here(2), Here(1), 1)]);
        assert_eq!(find(&waits, &BTreeMap::from([(1, 1), (2, 2)])), []);
    }

    #[test]
    fn others_can_be_part_of_it() {
        // 1 waits on node 1 for a direct client, that one for 2, and 2 on node 2 for 1.
        let waits =
            waits(&[(Here(1), There(1, 9), 1), (There(1, 9), Here(2), 1), (Here(2), Here(1), 2)]);
        let found = find(&waits, &BTreeMap::from([(1, 1)]));
        assert_eq!(found[0].victim, 1, "2 cannot be cancelled");
        assert_eq!(find(&waits, &BTreeMap::new()), [], "nobody can be cancelled");
    }

    #[test]
    fn a_queue_is_no_deadlock() {
        let waits = waits(&[(Here(1), Here(2), 1), (Here(2), Here(3), 2), (Here(1), Here(3), 0)]);
        assert_eq!(find(&waits, &BTreeMap::from([(1, 1), (2, 2), (3, 3)])), []);
    }

    proptest! {
        /// Victims are part of a cycle, and after removing the victims of a few rounds no cycle is left.
        #[test]
        fn cancelling_the_victims_ends_it(edges in prop::collection::vec((0..8i32, 0..8i32, 0..3i32), 0..24)) {
            let candidates: BTreeMap<i32, i64> = (0..8).map(|pid| (pid, i64::from(pid % 3))).collect();
            let mut left: BTreeSet<Wait> = edges.iter()
                .map(|&(a, b, server)| Wait { waiter: Here(a), holder: Here(b), server })
                .collect();
            for _ in 0..8 {
                for deadlock in find(&left, &candidates) {
                    prop_assert!(deadlock.members.contains(&Here(deadlock.victim)));
                    let reached = reachable(&left, Here(deadlock.victim));
                    prop_assert!(deadlock.members.iter().all(|member| reached.contains(member)));
                    let gone = Here(deadlock.victim);
                    left.retain(|wait| wait.waiter != gone && wait.holder != gone);
                }
            }
            prop_assert_eq!(find(&left, &candidates), []);
        }
    }

    fn reachable(waits: &BTreeSet<Wait>, from: Transaction) -> BTreeSet<Transaction> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            for wait in waits.iter().filter(|wait| wait.waiter == at) {
                if reached.insert(wait.holder) {
                    next.push(wait.holder);
                }
            }
        }
        reached
    }
}
