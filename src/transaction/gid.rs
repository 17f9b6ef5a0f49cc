//! Transaction names: used for prepared transactions on nodes and for status queries by clients.

/// A transaction of this cluster, identified by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gid {
    /// Part `n` of a local transaction, prepared on a node: `helios_<cluster>_<database>_<epoch>_<xid>_<n>`. The epoch
    /// identifies the coordinator's start, because a transaction ID lost in a crash is assigned again.
    Part { database: u32, epoch: u128, xid: u32, n: u32 },
    /// A transaction that wrote on one node only, with the node's full transaction ID:
    /// `helios_<cluster>_<database>_node<node>_<id>`.
    Own { database: u32, node: i32, id: u64 },
}

impl Gid {
    /// Its name in a cluster.
    pub fn name(&self, cluster: i64) -> String {
        match self {
            Self::Part { database, epoch, xid, n } => {
                format!("helios_{cluster}_{database}_{epoch}_{xid}_{n}")
            }
            Self::Own { database, node, id } => {
                format!("helios_{cluster}_{database}_node{node}_{id}")
            }
        }
    }

    /// Parses a name; None if it is not one of this cluster's.
    pub fn parse(name: &str, cluster: i64) -> Option<Self> {
        let rest = name.strip_prefix("helios_")?.strip_prefix(&format!("{cluster}_"))?;
        let parts: Vec<&str> = rest.split('_').collect();
        let gid = match parts.as_slice() {
            [database, epoch, xid, n] => Self::Part {
                database: database.parse().ok()?,
                epoch: epoch.parse().ok()?,
                xid: xid.parse().ok()?,
                n: n.parse().ok()?,
            },
            [database, node, id] => Self::Own {
                database: database.parse().ok()?,
                node: node.strip_prefix("node")?.parse().ok()?,
                id: id.parse().ok()?,
            },
            _ => return None,
        };
        // Accept only the canonical form: "+7" and "007" are not ours.
        (gid.name(cluster) == name).then_some(gid)
    }

    /// OID of the database on this server to which the transaction belongs.
    pub fn database(&self) -> u32 {
        match self {
            Self::Part { database, .. } | Self::Own { database, .. } => *database,
        }
    }
}

/// The part of a local transaction that a prepared transaction's name identifies.
pub fn part(name: &str, cluster: i64, of_database: u32) -> Option<(u128, u32)> {
    match Gid::parse(name, cluster)? {
        Gid::Part { database, epoch, xid, .. } if database == of_database => Some((epoch, xid)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for gid in [
            Gid::Part { database: 16384, epoch: 0, xid: 741, n: 2 },
            Gid::Part { database: 16384, epoch: (2 << 64) | 0x16b_3748, xid: 741, n: 2 },
            Gid::Own { database: 16384, node: 3, id: 1 << 40 },
        ] {
            assert_eq!(Gid::parse(&gid.name(-7), -7), Some(gid));
            assert_eq!(Gid::parse(&gid.name(8), -7), None);
        }
        assert_eq!(part("helios_-7_16384_0_741_2", -7, 16384), Some((0, 741)));
        assert_eq!(part("helios_-7_16384_0_741_2", -7, 5), None);
    }

    #[test]
    fn only_names_of_this_cluster_are_ours() {
        for foreign in [
            "helios_8_1_0_7_1",
            "helios_-7_1_0_7",
            "helios_-7_1_0_7_1_1",
            "other",
            "helios_-7_x_0_7_1",
            "helios_-7_1_0_07_1",
            "helios_-7_1_0_+7_1",
            "helios_-7_1_node1_",
        ] {
            assert_eq!(Gid::parse(foreign, -7), None, "{foreign}");
        }
    }
}
