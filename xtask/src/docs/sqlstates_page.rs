//! Generates the page of SQLSTATEs raised by the sources, with codes and names from the server's list and the meanings
//! from [`RAISED`]. It is an error if a code is used but not explained, or explained but not used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::page::{Page, cell};
use super::sqlstates::{RAISED, RECOGNIZED};
use crate::scripts;
use testkit::paths;
use testkit::postgres::Postgres;

/// Page of all SQLSTATEs.
pub fn sqlstates(pg: &Postgres) -> Result<Page> {
    let used = used()?;
    let faults = faults(&used);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    let conditions = conditions(pg)?;
    let mut text = "# SQLSTATEs\n\nThis page lists every SQLSTATE that Helios itself raises, and what to do about each. Errors that a \
        node raises are passed on unchanged, with the node in their context, and are not listed here: see PostgreSQL's \
        documentation.\n\n| SQLSTATE | condition | when Helios raises it, and the remedy |\n|---|---|---|\n"
        .to_owned();
    let mut rows = Vec::new();
    for (name, meaning) in RAISED {
        let condition = conditions.get(*name);
        let condition = condition.with_context(|| format!("{name} is not a named condition"))?;
        rows.push((&condition.code, &condition.name, meaning));
    }
    rows.sort();
    for (code, name, meaning) in rows {
        writeln!(text, "| `{code}` | {} | {} |", cell(name), cell(meaning))?;
    }
    Ok(Page { name: "sqlstates.md", text })
}

/// Names of SQLSTATEs in the sources of the extension, without `ERRCODE_`.
fn used() -> Result<BTreeSet<String>> {
    let mut used = BTreeSet::new();
    let root = paths::workspace();
    for folder in ["src", "core/src"] {
        in_folder(&root.join(folder), &mut used)?;
    }
    let version = scripts::default_version()?;
    let script = scripts::directory().join(format!("install/helios--{version}.sql"));
    let text = fs::read_to_string(&script).with_context(|| format!("{}", script.display()))?;
    for part in text.split("ERRCODE = '").skip(1) {
        used.extend(part.split('\'').next().map(str::to_uppercase));
    }
    Ok(used)
}

fn in_folder(folder: &Path, used: &mut BTreeSet<String>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            in_folder(&path, used)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            for part in text.split("ERRCODE_").skip(1) {
                let end =
                    part.find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
                used.insert(part[..end.unwrap_or(part.len())].to_owned());
            }
        }
    }
    Ok(())
}

/// Codes that are used but not explained, and explanations of codes that are not used.
fn faults(used: &BTreeSet<String>) -> Vec<String> {
    let explained = RAISED.iter().map(|(name, _)| *name).chain(RECOGNIZED.iter().copied());
    let explained: BTreeSet<String> = explained.map(str::to_owned).collect();
    let file = "xtask/src/docs/sqlstates.rs";
    let new = used.difference(&explained);
    let new = new.map(|name| format!("ERRCODE_{name} is used, but not explained in {file}"));
    let gone = explained.difference(used);
    let gone = gone.map(|name| format!("ERRCODE_{name} is no longer used: remove it from {file}"));
    new.chain(gone).collect()
}

/// A SQLSTATE as shown to users.
#[derive(Debug, PartialEq, Eq)]
struct Condition {
    /// The five-character code.
    code: String,
    /// Condition name in PL/pgSQL.
    name: String,
}

/// Reads conditions, by macro name without `ERRCODE_`, from the server's `errcodes.txt`. The macro's name can differ from
/// the condition's: some have a prefix for their class.
fn conditions(pg: &Postgres) -> Result<BTreeMap<String, Condition>> {
    let path = pg.sharedir.join("errcodes.txt");
    let list =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(listed(&list))
}

/// Parses lines of four words: code, severity, macro, name. Some lack a name because another macro for the same code has it.
fn listed(list: &str) -> BTreeMap<String, Condition> {
    let condition = |line: &str| {
        let mut words = line.split_whitespace();
        let (code, _severity) = (words.next()?, words.next()?);
        let name_of_macro = words.next()?.strip_prefix("ERRCODE_")?;
        let name = words.next()?;
        Some((name_of_macro.to_owned(), Condition { code: code.to_owned(), name: name.to_owned() }))
    };
    list.lines().filter_map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_those_of_the_list() {
        let list = "# x\nSection: Class 40\n\n40001    E    ERRCODE_T_R_SERIALIZATION_FAILURE    serialization_failure\n\
                    53100    E    ERRCODE_DISK_FULL    disk_full\n2200L    E    ERRCODE_WITHOUT_A_NAME\n";
        let expected = [
            ("DISK_FULL", "53100", "disk_full"),
            ("T_R_SERIALIZATION_FAILURE", "40001", "serialization_failure"),
        ];
        let expected = expected.map(|(of_macro, code, name)| {
            (of_macro.to_owned(), Condition { code: code.to_owned(), name: name.to_owned() })
        });
        assert_eq!(listed(list), BTreeMap::from(expected));
    }

    #[test]
    fn unexplained_and_unused_codes_are_faults() {
        let mut used: BTreeSet<String> =
            RAISED.iter().map(|(name, _)| (*name).to_owned()).collect();
        used.extend(RECOGNIZED.iter().map(|name| (*name).to_owned()));
        assert_eq!(faults(&used), Vec::<String>::new());
        used.remove("DISK_FULL");
        used.insert("SOMETHING_NEW".to_owned());
        let found = faults(&used).join("\n");
        assert!(found.contains("ERRCODE_SOMETHING_NEW is used"), "{found}");
        assert!(found.contains("ERRCODE_DISK_FULL is no longer used"), "{found}");
    }
}
