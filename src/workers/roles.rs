//! Looks every few seconds whether roles here have changed, and brings those of the nodes into step.

use super::log::log;
use crate::catalog::Node;
use crate::cluster::roles;
use crate::pg::ipc::worker;
use crate::settings;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A node is asked although nothing has changed here: somebody may have changed something there.
const ROUND: Duration = Duration::from_secs(60);
/// Time for one node.
const NODE_TIME: Duration = Duration::from_secs(3);

/// What is known of the nodes of one database.
#[derive(Default)]
pub struct Roles {
    last: Option<Instant>,
    nodes: BTreeMap<i32, Confirmed>,
}

/// A node that had the roles of this server, as this number stands for them, at this moment.
struct Confirmed {
    digest: u64,
    at: Instant,
    /// What could not be done, already in the log.
    failed: Vec<String>,
}

fn interval() -> Duration {
    Duration::from_millis(u64::try_from(settings::HEALTH_INTERVAL.get()).unwrap_or(5000))
}

impl Roles {
    /// Does what is due; gives the time until the next look. A node that cannot be asked now is asked the next time.
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
            // It does not answer, or roles are being changed: the next time.
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
        // What failed is tried again with the next round.
        let confirmed = Confirmed { digest, at: Instant::now(), failed: step.failed };
        if step.done.is_empty() {
            self.nodes.insert(node.id.0, confirmed);
        }
    }
}
