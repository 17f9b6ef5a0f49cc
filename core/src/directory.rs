//! The directory as a model in memory: schema → shard → node.
//!
//! Invariant: a [`Directory`] exists only if every schema has a known shard, every shard a known
//! node, a dedicated shard at most one schema, and the pooled shards cover the space. So each
//! look-up of a schema that it knows has an answer.

use crate::shard::{Bounds, CoverError, Rectangle, Space};
use crate::slot::{key_of, slot_of};
use std::collections::{HashMap, HashSet};

/// A row of the shard catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: i64,
    /// The node that it lives on.
    pub node: i32,
    /// What it holds.
    pub bounds: Bounds,
}

/// Where a schema lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Its shard.
    pub shard: i64,
    /// The shard's node.
    pub node: i32,
}

/// Why rows make no directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Two shards have one id.
    #[error("shard {0} exists twice")]
    DuplicateShard(i64),
    /// Two schemas have one id.
    #[error("schema {0} exists twice")]
    DuplicateSchema(u32),
    /// A shard is on a node that does not exist.
    #[error("shard {shard} is on node {node}, which does not exist")]
    UnknownNode {
        /// The shard.
        shard: i64,
        /// The node.
        node: i32,
    },
    /// A schema is in a shard that does not exist.
    #[error("schema {schema} is in shard {shard}, which does not exist")]
    UnknownShard {
        /// The schema.
        schema: u32,
        /// The shard.
        shard: i64,
    },
    /// A dedicated shard holds a second schema.
    #[error("dedicated shard {0} holds more than one schema")]
    Crowded(i64),
    /// The pooled shards do not cover the space.
    #[error(transparent)]
    Cover(#[from] CoverError),
}

/// The directory of one cluster.
#[derive(Debug, Clone)]
pub struct Directory {
    shards: HashMap<i64, Shard>,
    schemas: HashMap<u32, Placement>,
    space: Space,
}

impl Directory {
    /// Builds the directory from its rows: node ids, shards, and for each schema (by an id of the
    /// caller's choice, such as an OID) its shard.
    pub fn new(
        nodes: impl IntoIterator<Item = i32>,
        shards: impl IntoIterator<Item = Shard>,
        schemas: impl IntoIterator<Item = (u32, i64)>,
    ) -> Result<Self, DirectoryError> {
        let nodes: HashSet<i32> = nodes.into_iter().collect();
        let mut by_id: HashMap<i64, Shard> = HashMap::new();
        let mut pooled: Vec<(i64, Rectangle)> = Vec::new();
        for shard in shards {
            if !nodes.contains(&shard.node) {
                return Err(DirectoryError::UnknownNode { shard: shard.id, node: shard.node });
            }
            if let Bounds::Pooled(rectangle) = &shard.bounds {
                pooled.push((shard.id, rectangle.clone()));
            }
            if let Some(double) = by_id.insert(shard.id, shard) {
                return Err(DirectoryError::DuplicateShard(double.id));
            }
        }
        let space = Space::new(pooled)?;
        let mut placements = HashMap::new();
        let mut dedicated = HashSet::new();
        for (schema, shard) in schemas {
            let row = by_id.get(&shard);
            let row = row.ok_or(DirectoryError::UnknownShard { schema, shard })?;
            if row.bounds == Bounds::Dedicated && !dedicated.insert(shard) {
                return Err(DirectoryError::Crowded(shard));
            }
            if placements.insert(schema, Placement { shard, node: row.node }).is_some() {
                return Err(DirectoryError::DuplicateSchema(schema));
            }
        }
        Ok(Directory { shards: by_id, schemas: placements, space })
    }

    /// Where a schema lives; None if it is not distributed.
    pub fn placement(&self, schema: u32) -> Option<Placement> {
        self.schemas.get(&schema).copied()
    }

    /// The pooled shard that a schema of this name belongs into, and its node.
    pub fn home(&self, name: &str) -> Option<Placement> {
        let shard = self.space.find(slot_of(name), key_of(name))?;
        let node = self.shards.get(&shard)?.node;
        Some(Placement { shard, node })
    }

    /// A shard by its id.
    pub fn shard(&self, id: i64) -> Option<&Shard> {
        self.shards.get(&id)
    }

    /// The pooled shards.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// How many schemas are distributed.
    pub fn schema_count(&self) -> usize {
        self.schemas.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Strategy, initial};

    fn pooled(count: u32) -> Vec<Shard> {
        let rectangles = initial(Strategy::Hash, count).into_iter();
        let shard = |(id, rectangle)| Shard {
            id,
            node: (id % 3) as i32 + 1,
            bounds: Bounds::Pooled(rectangle),
        };
        (1..).zip(rectangles).map(shard).collect()
    }

    fn dedicated(id: i64, node: i32) -> Shard {
        Shard { id, node, bounds: Bounds::Dedicated }
    }

    #[test]
    fn schemas_are_where_their_shards_are() {
        let mut shards = pooled(64);
        shards.push(dedicated(100, 2));
        let directory = Directory::new(1..=3, shards, [(7, 100), (8, 4), (9, 4)]).unwrap();
        assert_eq!(directory.placement(7), Some(Placement { shard: 100, node: 2 }));
        assert_eq!(directory.placement(8), directory.placement(9));
        assert_eq!(directory.placement(8), Some(Placement { shard: 4, node: 2 }));
        assert_eq!(directory.placement(10), None);
        assert_eq!(directory.schema_count(), 3);
        // slot 12182 of 16384, 256 a shard
        assert_eq!(directory.home("foo"), Some(Placement { shard: 48, node: 1 }));
        assert_eq!(directory.home("foo"), directory.home("x{foo}"));
        assert_eq!(directory.shard(100), Some(&dedicated(100, 2)));
        assert_eq!(directory.space().shards().len(), 64);
    }

    #[test]
    fn rows_that_make_no_directory_are_named() {
        let new = |shards: Vec<Shard>, schemas: &[(u32, i64)]| {
            Directory::new(1..=3, shards, schemas.iter().copied()).unwrap_err()
        };
        let with = |shard| [pooled(4), vec![shard]].concat();
        assert_eq!(new(pooled(4), &[(7, 5)]).to_string(), {
            "schema 7 is in shard 5, which does not exist"
        });
        assert_eq!(new(pooled(4), &[(7, 1), (7, 2)]), DirectoryError::DuplicateSchema(7));
        assert_eq!(new(with(dedicated(4, 1)), &[]), DirectoryError::DuplicateShard(4));
        assert_eq!(
            new(with(dedicated(9, 4)), &[]),
            DirectoryError::UnknownNode { shard: 9, node: 4 }
        );
        assert_eq!(new(with(dedicated(9, 1)), &[(1, 9), (2, 9)]), DirectoryError::Crowded(9));
        assert!(matches!(new(pooled(4)[1..].to_vec(), &[]), DirectoryError::Cover(_)));
    }
}
