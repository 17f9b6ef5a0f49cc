//! Checks whether a node's roles match the coordinator's.

use crate::catalog::Node;
use crate::cluster::finding::Finding;
use crate::cluster::roles;
use crate::error::{self, Result};

/// Returns one finding for each difference.
pub fn compare(node: &Node) -> Result<Vec<Finding>> {
    const SHOWN: usize = 100;
    let differences = match roles::differences(node) {
        Ok(differences) => differences,
        Err(error) => {
            let remedy =
                "The owner of extension helios must be able to connect to the node as a superuser.";
            return Ok(vec![Finding::new("roles", false, error.to_string(), remedy)]);
        }
    };
    if differences.is_empty() {
        return Ok(vec![Finding::new(
            "roles",
            true,
            "Roles on the node match the coordinator.".into(),
            "",
        )]);
    }
    let finding = |difference: &roles::Difference| {
        let detail = format!("{}.", error::capitalized(&difference.detail()));
        Finding::new("roles", false, detail, &difference.remedy())
    };
    let mut findings: Vec<Finding> = differences.iter().take(SHOWN).map(finding).collect();
    if differences.len() > SHOWN {
        let more = format!("There are {} more differences.", differences.len() - SHOWN);
        findings.push(Finding::new(
            "roles",
            false,
            more,
            "Run the check again when the differences above are resolved.",
        ));
    }
    Ok(findings)
}
