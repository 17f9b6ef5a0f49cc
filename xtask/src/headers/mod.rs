//! Compares the extension's own declarations of server functions, variables and structures with the server's headers:
//! for each version whose headers are installed, compiles a C file that repeats the declarations after including the
//! headers, so that a difference is a compile error. The linker would notice a missing function, but not a changed
//! argument or result type.
//!
//! Compares arguments, results, variables, constness behind pointers, and structures with C layout. Declarations that are
//! in no header cannot be compared, and are reported.

mod prototypes;
mod structures;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use testkit::command;
use testkit::paths;
use testkit::postgres::{MAJORS, Postgres};

use prototypes::Prototype;
use structures::Structure;

/// Server headers with the declarations used by the extension. Headers that a version lacks are skipped.
const HEADERS: [&str; 50] = [
    "access/genam.h",
    "access/heapam.h",
    "access/parallel.h",
    "access/printtup.h",
    "access/table.h",
    "access/tableam.h",
    "access/twophase.h",
    "access/xact.h",
    "access/xlog.h",
    "catalog/dependency.h",
    "catalog/namespace.h",
    "catalog/objectaccess.h",
    "catalog/pg_inherits.h",
    "commands/copy.h",
    "commands/defrem.h",
    "commands/explain.h",
    "commands/tablecmds.h",
    "commands/trigger.h",
    "common/hashfn.h",
    "executor/executor.h",
    "executor/spi.h",
    "executor/tstoreReceiver.h",
    "libpq/libpq.h",
    "libpq/pqformat.h",
    "miscadmin.h",
    "nodes/makefuncs.h",
    "nodes/nodeFuncs.h",
    "nodes/params.h",
    "optimizer/planmain.h",
    "optimizer/planner.h",
    "parser/parser.h",
    "parser/scanner.h",
    "pgstat.h",
    "postmaster/interrupt.h",
    "replication/walreceiver.h",
    "rewrite/rewriteHandler.h",
    "storage/ipc.h",
    "storage/lmgr.h",
    "storage/lwlock.h",
    "storage/predicate.h",
    "storage/proc.h",
    "storage/procarray.h",
    "tcop/dest.h",
    "tcop/pquery.h",
    "tcop/utility.h",
    "utils/builtins.h",
    "utils/datum.h",
    "utils/guc_tables.h",
    "utils/lsyscache.h",
    "utils/snapmgr.h",
];

/// Checks all versions whose headers are installed; reports the others.
pub fn check() -> Result<()> {
    let mut faults = Vec::new();
    for major in MAJORS {
        let Some(pg) = Postgres::find(major)? else {
            println!("PostgreSQL {major}: not checked because its headers are not installed");
            continue;
        };
        let declared = declared(&paths::workspace().join("src"), major)?;
        if declared.values().all(|all| all.prototypes.is_empty()) {
            bail!("no declarations found in src");
        }
        let said = compile(&headers_dir(&pg)?, &unit(&declared))?;
        if said.is_empty() {
            let count: usize = declared.values().map(Declared::len).sum();
            println!("{}: {count} declarations match the server's headers", pg.version);
        } else {
            faults.push(format!("{}:\n{said}", pg.version));
        }
    }
    for (name, what) in structures::NOT_COMPARED {
        println!("not compared: structure {name}, {what}");
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Declarations in one source file.
struct Declared {
    prototypes: Vec<Prototype>,
    structures: Vec<Structure>,
}

impl Declared {
    fn len(&self) -> usize {
        self.prototypes.len() + self.structures.len()
    }
}

fn headers_dir(pg: &Postgres) -> Result<PathBuf> {
    let out = command::output(Command::new(&pg.pg_config).arg("--includedir-server"))?;
    Ok(PathBuf::from(out.trim()))
}

/// Declarations in all sources of a directory, by file name.
fn declared(dir: &Path, major: u32) -> Result<BTreeMap<String, Declared>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let entries = fs::read_dir(&dir);
        for entry in entries.with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let shown = path.strip_prefix(paths::workspace()).unwrap_or(&path);
                let shown = shown.display().to_string();
                let text = fs::read_to_string(&path)?;
                let declared = declared_in(&text, major);
                found.insert(
                    shown.clone(),
                    declared.with_context(|| format!("cannot read {shown}"))?,
                );
            }
        }
    }
    Ok(found)
}

fn declared_in(text: &str, major: u32) -> Result<Declared> {
    let prototypes = prototypes::of_source(text, major)?;
    Ok(Declared { prototypes, structures: structures::of_source(text)? })
}

/// Generates a C file: the headers, then for each declaration a use, which fails if the headers lack it, and the
/// declaration again, with its line in the Rust source.
fn unit(declared: &BTreeMap<String, Declared>) -> String {
    let mut text =
        String::from("#include <stddef.h>\n#include \"postgres.h\"\n#include \"fmgr.h\"\n");
    // Headers of these libraries may not be installed.
    text.push_str("#undef ENABLE_GSS\n#undef USE_OPENSSL\n#undef USE_LDAP\n#undef USE_PAM\n");
    for header in HEADERS {
        let _ = writeln!(text, "#if __has_include(\"{header}\")\n#include \"{header}\"\n#endif");
    }
    for (place, Structure { text: comparison, line }) in
        declared.iter().flat_map(|(place, all)| all.structures.iter().map(move |one| (place, one)))
    {
        let _ = writeln!(text, "#line {line} \"{place}\"\n{comparison}");
    }
    for (number, (place, prototype)) in declared
        .iter()
        .flat_map(|(place, all)| all.prototypes.iter().map(move |one| (place, one)))
        .enumerate()
    {
        let Prototype { name, text: prototype, line } = prototype;
        let _ = writeln!(text, "#line {line} \"{place}\"");
        let _ = writeln!(text, "static void *use_{number}(void) {{ return (void *) &({name}); }}");
        let _ = writeln!(text, "#line {line} \"{place}\"\nextern {prototype};");
    }
    text
}

/// Compiles the C file; returns the compiler's messages, empty on success.
fn compile(headers: &Path, unit: &str) -> Result<String> {
    let mut cc = Command::new("cc");
    cc.args(["-x", "c", "-std=gnu11", "-fsyntax-only", "-w", "-fmax-errors=0"]);
    cc.arg("-D_GNU_SOURCE").arg("-I").arg(headers).arg("-");
    match command::output_of_input(&mut cc, unit.as_bytes()) {
        Ok(_) => Ok(String::new()),
        Err(error) => Ok(format!("{error:#}")),
    }
}
