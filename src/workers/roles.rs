//! Periodically checks whether roles have changed, and synchronizes the nodes.

use super::log::log;
use crate::catalog::Node;
use crate::cluster::roles;
use crate::pg::ipc::worker;
use crate::settings;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Interval after which a node is checked although nothing has changed here, because somebody may have changed roles
/// there.
const ROUND: Duration = Duration::from_secs(60);
/// Time limit for one node.
const NODE_TIME: Duration = Duration::from_secs(3);

/// State of the nodes of one database.
#[derive(Default)]
pub struct Roles {
    last: Option<Instant>,
    nodes: BTreeMap<i32, Confirmed>,
}

/// A node known to have this server's roles, identified by a digest, and the time of that check.
struct Confirmed {
    digest: u64,
    at: Instant,
    /// Failures that have already been logged.
    failed: Vec<String>,
}

fn interval() -> Duration {
    Duration::from_millis(u64::try_from(settings::HEALTH_INTERVAL.get()).unwrap_or(5000))
}

impl Roles {
    /// Performs the checks that are due; returns the time until the next poll. A node that cannot be reached is retried
    /// next time.
    pub fn poll(&mut self, nodes: &[Rc<Node>]) -> Duration {
        let since = self.last.map(|last| last.elapsed());
        if let Some(left) = since.and_then(|since| interval().checked_sub(since)) {
            return left;
        }
        self.last = Some(Instant::now());
        self.nodes.retain(|id, _| nodes.iter().any(|node| node.id.0 == *id));
        let digest = match worker::attempt(roles::digest) {
            Ok(digest) => digest,
            Err(error) => {
                log(format!("could not read the roles of this server: {error}"));
                return interval();
            }
        };
        for node in nodes {
            let known = self.nodes.get(&node.id.0);
            if known.is_none_or(|known| known.digest != digest || known.at.elapsed() > ROUND) {
                self.bring(node, digest);
            }
        }
        interval()
    }

    fn bring(&mut self, node: &Node, digest: u64) {
        let outcome = worker::attempt(|| roles::bring_into_step(node, NODE_TIME));
        let step = match outcome {
            Ok(step) => step,
            // It does not respond, or roles are being changed: retry next time.
            Err(error) if error.is_class("08") || error.is_class("55") => return,
            Err(error) => {
                return log(format!("could not read the roles of node \"{}\": {error}", node.name));
            }
        };
        for done in &step.done {
            log(format!("synchronized roles of node \"{}\": {done}", node.name));
        }
        let said = self.nodes.remove(&node.id.0).map(|known| known.failed).unwrap_or_default();
        for failed in step.failed.iter().filter(|failed| !said.contains(failed)) {
            log(format!("could not synchronize roles of node \"{}\": {failed}", node.name));
        }
        // Failures are retried in the next round.
        let confirmed = Confirmed { digest, at: Instant::now(), failed: step.failed };
        if step.done.is_empty() {
            self.nodes.insert(node.id.0, confirmed);
        }
    }
}
