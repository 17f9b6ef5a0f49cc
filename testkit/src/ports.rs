//! Free TCP ports for temporary servers, unique among all processes of this machine that allocate
//! them here.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::server::check_port_free;

/// Below the kernel's range of ephemeral ports.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// A range of ports held until dropped. It is held by file locks, which are released when the process
/// exits for whatever reason.
#[derive(Debug)]
pub struct Ports {
    /// First port.
    pub first: u16,
    _locks: Vec<File>,
}

impl Ports {
    /// Allocates `count` consecutive ports.
    pub fn take(count: u16) -> Result<Self> {
        let dir = std::env::temp_dir().join("helios-ports");
        if !dir.exists() {
            std::fs::create_dir_all(&dir)?;
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o1777))?;
        }
        let step = usize::from(count.max(1));
        // Processes start at different ports to reduce contention.
        let length = RANGE.end - RANGE.start;
        let offset = (std::process::id() % u32::from(length)) as u16;
        let starts = (0..length).step_by(step).map(|i| RANGE.start + (i + offset) % length);
        for first in starts.filter(|first| first + count <= RANGE.end) {
            if let Some(_locks) = try_take(&dir, first, count)? {
                return Ok(Self { first, _locks });
            }
        }
        bail!("no {count} consecutive free ports between {} and {}", RANGE.start, RANGE.end)
    }
}

fn try_take(dir: &Path, first: u16, count: u16) -> Result<Option<Vec<File>>> {
    let mut locks = Vec::new();
    for port in first..first + count {
        let path = dir.join(port.to_string());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
            || check_port_free(port).is_err()
        {
            return Ok(None);
        }
        locks.push(file);
    }
    Ok(Some(locks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_not_given_twice() {
        let one = Ports::take(3).unwrap();
        let two = Ports::take(3).unwrap();
        assert!(one.first.abs_diff(two.first) >= 3, "{} and {}", one.first, two.first);
    }
}
