//! The page of SQLSTATEs: those that the sources raise, with the codes from the server's header and the meanings from
//! [`RAISED`]. A code that the sources use and nobody has explained is an error, and so is the opposite.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::reference::{Page, cell};
use super::sqlstates::{RAISED, RECOGNIZED};
use crate::scripts;
use testkit::command;
use testkit::paths;
use testkit::postgres::Postgres;

/// All SQLSTATEs.
pub fn sqlstates(pg: &Postgres) -> Result<Page> {
    let used = used()?;
    let faults = faults(&used);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    let codes = codes(pg)?;
    let mut text = "# SQLSTATEs\n\nYou find here every SQLSTATE that Helios itself raises, and what to do about each. Errors that a \
        node raises arrive as the node raised them, with the node in their context, and are not listed: PostgreSQL's manual \
        explains them.\n\n| SQLSTATE | condition | when Helios raises it, and the remedy |\n|---|---|---|\n"
        .to_owned();
    let mut rows = Vec::new();
    for (name, meaning) in RAISED {
        let code = codes.get(*name).with_context(|| format!("{name} is no SQLSTATE"))?;
        rows.push((code, name.to_lowercase(), meaning));
    }
    rows.sort();
    for (code, name, meaning) in rows {
        writeln!(text, "| `{code}` | {} | {} |", cell(&name), cell(meaning))?;
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

/// Codes that nobody has explained, and explanations of codes that nothing uses.
fn faults(used: &BTreeSet<String>) -> Vec<String> {
    let explained = RAISED.iter().map(|(name, _)| *name).chain(RECOGNIZED.iter().copied());
    let explained: BTreeSet<String> = explained.map(str::to_owned).collect();
    let file = "xtask/src/docs/sqlstates.rs";
    let new = used.difference(&explained);
    let new = new.map(|name| format!("ERRCODE_{name} is used: say in {file} what it means"));
    let gone = explained.difference(used);
    let gone =
        gone.map(|name| format!("ERRCODE_{name} is not used any more: remove it from {file}"));
    new.chain(gone).collect()
}

/// Five-character codes by name, from the server's `utils/errcodes.h`.
fn codes(pg: &Postgres) -> Result<BTreeMap<String, String>> {
    let include = command::output(Command::new(&pg.pg_config).arg("--includedir-server"))?;
    let path = Path::new(include.trim()).join("utils/errcodes.h");
    let header =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(defined(&header))
}

fn defined(header: &str) -> BTreeMap<String, String> {
    let definition = |line: &str| {
        let (name, value) = line.strip_prefix("#define ERRCODE_")?.split_once(' ')?;
        let letters = value.strip_prefix("MAKE_SQLSTATE(")?.strip_suffix(')')?;
        let code: String = letters.chars().filter(char::is_ascii_alphanumeric).collect();
        Some((name.to_owned(), code))
    };
    header.lines().filter_map(definition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_from_the_header() {
        let header = "/* x */\n#define ERRCODE_DISK_FULL MAKE_SQLSTATE('5','3','1','0','0')\n#define ELSE 1\n";
        let expected = BTreeMap::from([("DISK_FULL".to_owned(), "53100".to_owned())]);
        assert_eq!(defined(header), expected);
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
        assert!(found.contains("ERRCODE_DISK_FULL is not used any more"), "{found}");
    }
}
