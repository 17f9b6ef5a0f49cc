//! Checks that the SQL scripts and the shared library define the same functions.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::scripts;
use testkit::command;

/// Compares the functions declared in the scripts of all versions with those exported by the library. Functions that
/// only older versions declare stay in the library: the old scripts must work before a database can be updated.
pub fn check(library: &Path) -> Result<()> {
    let mut sql = String::new();
    for script in scripts::all()? {
        let text = std::fs::read_to_string(&script);
        sql += &text.with_context(|| format!("cannot read {}", script.display()))?;
    }
    let declared = declared(&sql);
    let mut nm = Command::new("nm");
    let listed = command::output(nm.args(["--dynamic", "--defined-only"]).arg(library))?;
    let exported = exported(&listed);
    let faults = differences(&declared, &exported);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    println!("all {} functions are declared and exported", declared.len());
    Ok(())
}

/// The symbols behind `AS 'MODULE_PATHNAME', '…'`.
fn declared(sql: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut rest = sql;
    while let Some(at) = rest.find("'MODULE_PATHNAME'") {
        rest = &rest[at + "'MODULE_PATHNAME'".len()..];
        let symbol = rest.trim_start().strip_prefix(',').map(str::trim_start);
        let symbol = symbol.and_then(|text| text.strip_prefix('\''));
        if let Some((symbol, _)) = symbol.and_then(|text| text.split_once('\'')) {
            found.insert(symbol);
        }
    }
    found
}

/// Functions with a `pg_finfo_` record, that is, those callable from SQL.
fn exported(nm: &str) -> BTreeSet<&str> {
    let names = nm.lines().filter_map(|line| line.split_whitespace().next_back());
    names.filter_map(|name| name.strip_prefix("pg_finfo_")).collect()
}

fn differences(declared: &BTreeSet<&str>, exported: &BTreeSet<&str>) -> Vec<String> {
    let mut faults = Vec::new();
    if declared.is_empty() {
        faults.push("the scripts declare no functions".to_owned());
    }
    for name in declared.difference(exported) {
        faults.push(format!("function {name} is declared in SQL, but missing from the library"));
    }
    for name in exported.difference(declared) {
        faults.push(format!("function {name} is in the library, but not declared in SQL"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "CREATE FUNCTION a() RETURNS text LANGUAGE c AS 'MODULE_PATHNAME', 'a_wrapper';\n\
        CREATE FUNCTION b()\n RETURNS int AS 'MODULE_PATHNAME',\n  'b_wrapper' LANGUAGE c;";

    #[test]
    fn equal_sides_have_no_faults() {
        let nm = "00000000 T pg_finfo_a_wrapper\n00000001 T a_wrapper\n0002 T pg_finfo_b_wrapper\n";
        assert!(differences(&declared(SQL), &exported(nm)).is_empty());
    }

    #[test]
    fn missing_and_surplus_functions_are_found() {
        let nm = "00000000 T pg_finfo_a_wrapper\n0002 T pg_finfo_c_wrapper\n";
        let faults = differences(&declared(SQL), &exported(nm)).join("\n");
        assert!(faults.contains("b_wrapper is declared"), "{faults}");
        assert!(faults.contains("c_wrapper is in the library"), "{faults}");
    }

    #[test]
    fn empty_script_is_a_fault() {
        assert_eq!(differences(&declared(""), &exported("")).len(), 1);
    }
}
