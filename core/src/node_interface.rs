//! What a coordinator uses of Helios on its nodes, which determines the supported versions of a node's catalogs.
//!
//! A cluster is updated server by server, the coordinator first; until the last node is updated, the coordinator works
//! with nodes one version behind. So everything called or read on a node is listed here with the version that
//! introduced it. A node without a listed item is too old, unless the item is an optional function: then statements that
//! need it are rejected, and all others run. Listed items are not dropped from the scripts before all versions that use
//! them are too old.

use std::cmp::Ordering;

/// Supported versions of a node's catalogs, the coordinator's own last.
const NODE_VERSIONS: [&str; 2] = ["0.1.0", env!("CARGO_PKG_VERSION")];

/// An item of Helios on a node, and the version that introduced it.
pub struct Item {
    /// The function or table in schema `helios`.
    #[cfg_attr(not(test), expect(dead_code))]
    name: &'static str,
    /// The columns used of a table, for the test that looks for them in the scripts.
    #[cfg_attr(not(test), expect(dead_code))]
    columns: &'static [&'static str],
    /// The first version with it.
    since: &'static str,
}

const fn function(name: &'static str, since: &'static str) -> Item {
    Item { name, columns: &[], since }
}

const fn table(name: &'static str, columns: &'static [&'static str], since: &'static str) -> Item {
    Item { name, columns, since }
}

/// Opens the portals of several parts of a statement with one snapshot.
pub const OPEN_PORTALS: Item = function("open_portals", "0.2.0");
/// Receives rows of other places for a statement of the node.
pub const RECEIVE_ROWS: Item = function("receive_rows", "0.2.0");
/// Works as another role at the coordinator's request.
pub const RUN_ON_REQUEST: Item = function("run_on_request", "0.2.0");

/// Functions for which the coordinator asks before it calls them, because only some statements need them: a node without
/// them can do everything else.
#[cfg_attr(not(test), expect(dead_code))]
const OPTIONAL_FUNCTIONS: [Item; 5] = [
    OPEN_PORTALS,
    RECEIVE_ROWS,
    RUN_ON_REQUEST,
    // called after receive_rows() only
    function("shipped_rows", "0.2.0"),
    function("forget_rows", "0.2.0"),
];

/// Functions that are called on nodes without asking.
const FUNCTIONS: [Item; 13] = [
    function("advance_sequences", "0.1.0"),
    function("change_copy", "0.1.0"),
    function("change_number", "0.1.0"),
    function("delete_rows", "0.1.0"),
    function("free_bytes", "0.1.0"),
    function("has_rows", "0.1.0"),
    function("pull_rows", "0.1.0"),
    function("reference_copy", "0.1.0"),
    function("reference_digest", "0.1.0"),
    function("run_as", "0.1.0"),
    function("sequence_position", "0.1.0"),
    function("table_rows", "0.1.0"),
    function("wait_for_replicas", "0.1.0"),
];

/// Tables that are read or written on nodes.
const TABLES: [Item; 6] = [
    table("cluster", &["node_of", "coordinator"], "0.1.0"),
    table("coordinator", &["cluster", "system_identifier", "timeline"], "0.1.0"),
    table("fence", &["schema", "migration", "kind", "keeps"], "0.1.0"),
    table("identity", &["coordinator"], "0.1.0"),
    table("migration_marker", &["migration", "direction", "token"], "0.1.0"),
    table("node", &["name", "is_local"], "0.1.0"),
];

/// Relation of a node's version to the coordinator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The same version.
    Same,
    /// Older, but supported.
    Older,
    /// Older than this coordinator supports.
    TooOld,
    /// Newer: the coordinator must be updated first.
    Newer,
}

/// The relation of a version of a node's catalogs to this coordinator.
pub fn standing(version: &str) -> Standing {
    let own = env!("CARGO_PKG_VERSION");
    match compare(version, own) {
        Ordering::Equal => Standing::Same,
        Ordering::Greater => Standing::Newer,
        Ordering::Less if NODE_VERSIONS.contains(&version) && is_whole(version) => Standing::Older,
        Ordering::Less => Standing::TooOld,
    }
}

/// Whether catalogs of this version have everything used on nodes.
fn is_whole(version: &str) -> bool {
    FUNCTIONS.iter().chain(&TABLES).all(|item| has(version, item))
}

/// Whether catalogs of this version have the item.
pub fn has(version: &str, item: &Item) -> bool {
    compare(item.since, version) != Ordering::Greater
}

/// The first version whose catalogs have the item.
pub fn since(item: &Item) -> &'static str {
    item.since
}

/// How to bring an older node to this version.
pub fn node_update() -> String {
    format!(
        "Install the library of version {} on the node, restart it, and run ALTER EXTENSION helios UPDATE there.",
        env!("CARGO_PKG_VERSION")
    )
}

/// Compares dotted version numbers.
pub fn compare(one: &str, other: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(one).cmp(&numbers(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn workspace() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
    }

    fn script(version: &str) -> String {
        let path = workspace().join(format!("sql/install/helios--{version}.sql"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The part of a script between the head of a definition and its end.
    fn definition<'a>(script: &'a str, head: &str) -> Option<&'a str> {
        let at = script.find(head)?;
        script[at..].split_once(";\n").map(|(definition, _)| definition)
    }

    #[test]
    fn scripts_of_all_versions_have_what_is_used_on_nodes() {
        for version in NODE_VERSIONS {
            let script = script(version);
            for item in FUNCTIONS.into_iter().chain(OPTIONAL_FUNCTIONS) {
                let head = format!("CREATE FUNCTION helios.{}(", item.name);
                assert_eq!(script.contains(&head), has(version, &item), "{version}: {head}");
            }
            for item in TABLES {
                let head = format!("CREATE TABLE helios.{} (", item.name);
                let Some(table) = definition(&script, &head) else {
                    assert!(!has(version, &item), "{version}: no {head}");
                    continue;
                };
                for column in item.columns {
                    let found = table.lines().any(|line| {
                        line.trim_start().strip_prefix(column).is_some_and(|l| l.starts_with(' '))
                    });
                    assert!(found, "{version}: {head} has no column {column}");
                }
            }
        }
    }

    fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path, found),
                false if path.extension().is_some_and(|e| e == "rs" || e == "sql") => {
                    found.push(path)
                }
                false => {}
            }
        }
    }

    /// Functions of schema `helios` that the coordinator only calls on itself, or on a server outside of the cluster.
    const HERE: [&str; 2] = ["reference_definition", "reference_write"];

    #[test]
    fn functions_that_the_sources_call_are_listed() {
        let mut files = Vec::new();
        sources(&workspace().join("src"), &mut files);
        let mut calls = 0;
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                for (at, _) in line.match_indices("helios.") {
                    let rest = &line[at + "helios.".len()..];
                    let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
                    let Some((name, "(")) = end.map(|end| (&rest[..end], &rest[end..=end])) else {
                        continue;
                    };
                    calls += 1;
                    let is_known = HERE.contains(&name)
                        || FUNCTIONS.iter().chain(&OPTIONAL_FUNCTIONS).any(|f| f.name == name);
                    assert!(is_known, "{}: helios.{name}() is not listed", file.display());
                }
            }
        }
        assert!(calls > 10, "{calls} calls are not all of them");
    }

    #[test]
    fn versions_stand_to_each_other_by_their_numbers() {
        assert_eq!(standing(env!("CARGO_PKG_VERSION")), Standing::Same);
        assert_eq!(standing("0.1.0"), Standing::Older);
        assert_eq!(standing("0.0.9"), Standing::TooOld);
        assert_eq!(standing("100.0"), Standing::Newer);
        assert_eq!(compare("0.10.0", "0.9.1"), Ordering::Greater);
        assert_eq!(compare("1.0", "1.0.0"), Ordering::Less);
    }
}
