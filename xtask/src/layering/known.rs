//! What is known to break the layout and is still to be mended: a list that may only shrink.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The list in a checkout.
const LIST: &str = "xtask/src/layering/known.txt";

/// Uses of higher rooms, and circles, by the names of their files below `src`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// A file and the file of a higher room that it uses.
    pub upward: BTreeSet<(String, String)>,
    /// Files that use each other in a circle.
    pub circles: Vec<BTreeSet<String>>,
}

impl Known {
    /// The list of a checkout; an empty one if there is none.
    pub fn of_checkout(root: &Path) -> Result<Self> {
        let path = root.join(LIST);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(&path);
        Self::read(&text.with_context(|| format!("cannot read {LIST}"))?)
    }

    /// Writes this as the list of a checkout.
    pub fn write(&self, root: &Path) -> Result<()> {
        let mut text = String::from(
            "# Uses of higher rooms and circles of files that are still to be mended: it may only shrink.\n\
             # HELIOS_ACCEPT_LAYERS=1 cargo xtask test layers writes it anew, after files were renamed or circles cut.\n",
        );
        for (from, to) in &self.upward {
            let _ = writeln!(text, "upward {from} {to}");
        }
        for circle in &self.circles {
            let files: Vec<_> = circle.iter().map(String::as_str).collect();
            let _ = writeln!(text, "circle {}", files.join(" "));
        }
        std::fs::write(root.join(LIST), text).with_context(|| format!("cannot write {LIST}"))
    }

    /// Reads lines `upward FILE FILE` and `circle FILE FILE …`; `#` begins a comment.
    pub fn read(text: &str) -> Result<Self> {
        let mut known = Self::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let kind = words.next();
            let files: Vec<String> = words.map(str::to_owned).collect();
            match (kind, files.as_slice()) {
                (None, _) => {}
                (Some("upward"), [from, to]) => {
                    known.upward.insert((from.clone(), to.clone()));
                }
                (Some("circle"), [_, _, ..]) => known.circles.push(files.into_iter().collect()),
                _ => bail!("{LIST}: not understood: {line}"),
            }
        }
        Ok(known)
    }

    /// What was seen and is not known, with what ties the files. A circle that has become smaller is a known one.
    pub fn faults(&self, seen: &Self, ties: impl Fn(&str, &str) -> Option<String>) -> Vec<String> {
        let tie = |from: &str, to: &str| {
            ties(from, to).map(|ties| format!("src/{from} uses src/{to}: {ties}"))
        };
        let mut faults = Vec::new();
        for (from, to) in seen.upward.difference(&self.upward) {
            faults.push(format!("upward: {}", tie(from, to).unwrap_or_default()));
        }
        for circle in &seen.circles {
            if self.circles.iter().any(|known| circle.is_subset(known)) {
                continue;
            }
            let mut text = format!("a circle of {} files:", circle.len());
            let pairs = circle.iter().flat_map(|from| circle.iter().map(move |to| (from, to)));
            for tie in pairs.filter_map(|(from, to)| tie(from, to)) {
                let _ = write!(text, "\n    {tie}");
            }
            faults.push(text);
        }
        faults
    }
}
