//! Compares what the extension declares of the server by hand with the server's own headers: for each version whose
//! headers are installed, a C file with the same declarations is compiled after theirs, and a difference is a compile
//! error. The linker would notice a missing function, but neither a changed argument nor a changed result.
//!
//! Compared are arguments, results, variables, what is constant behind pointers, and structures in C's layout. What is in
//! no header is not compared, and said.

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

/// Where the server declares what the extension uses. What is not there in a version is left out.
const HEADERS: [&str; 48] = [
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
    "tcop/utility.h",
    "utils/builtins.h",
    "utils/guc_tables.h",
    "utils/lsyscache.h",
    "utils/snapmgr.h",
];

/// Checks all versions that are there; says which are not.
pub fn check() -> Result<()> {
    let mut faults = Vec::new();
    for major in MAJORS {
        let Some(pg) = Postgres::find(major)? else {
            println!("PostgreSQL {major}: not checked, its headers are not installed");
            continue;
        };
        let declared = declared(&paths::workspace().join("src"), major)?;
        if declared.values().all(|all| all.prototypes.is_empty()) {
            bail!("no declarations found in src");
        }
        let said = compile(&headers_dir(&pg)?, &unit(&declared))?;
        if said.is_empty() {
            let count: usize = declared.values().map(Declared::len).sum();
            println!("{}: {count} declarations are the server's", pg.version);
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

/// What one source declares.
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

/// The declarations of all sources in a folder by the sources' names.
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

/// A C file: the headers, then for each declaration a use, which fails if the headers do not have it, and the
/// declaration again, at its place in Rust.
fn unit(declared: &BTreeMap<String, Declared>) -> String {
    let mut text =
        String::from("#include <stddef.h>\n#include \"postgres.h\"\n#include \"fmgr.h\"\n");
    // Libraries whose own headers need not be installed.
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

/// What the compiler has to say; nothing if all is well.
fn compile(headers: &Path, unit: &str) -> Result<String> {
    let mut cc = Command::new("cc");
    cc.args(["-x", "c", "-std=gnu11", "-fsyntax-only", "-w", "-fmax-errors=0"]);
    cc.arg("-D_GNU_SOURCE").arg("-I").arg(headers).arg("-");
    match command::output_of_input(&mut cc, unit.as_bytes()) {
        Ok(_) => Ok(String::new()),
        Err(error) => Ok(format!("{error:#}")),
    }
}
