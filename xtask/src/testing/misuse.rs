//! Programs that must not compile because they misuse the safe types of `pg/`. Each file in
//! `xtask/misuse` is compiled as a module of the extension and must produce exactly the errors it is marked with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use testkit::{command, paths};

use super::checks::EXTENSION;

/// A line and its error: the error code, or the first word of the message if the compiler has no code for it.
type Mark = (usize, String);

/// Checks that each file produces exactly the errors it is marked with.
pub fn check(pg_config: &Path) -> Result<()> {
    let mut faults = Vec::new();
    let mut files = 0;
    let folder = paths::workspace().join("xtask/misuse");
    for entry in fs::read_dir(&folder).context("cannot read xtask/misuse")? {
        let file = entry?.path();
        let text = fs::read_to_string(&file)?;
        let marked = marks(&text);
        if marked.is_empty() {
            bail!("{} has no expected errors", file.display());
        }
        files += 1;
        let said = compile(&file, pg_config)?;
        let found = errors(&said, &file);
        if found != marked {
            let missing: Vec<_> = marked.difference(&found).collect();
            let others: Vec<_> = found.difference(&marked).collect();
            let name = file.file_name().unwrap_or_default().display();
            faults.push(format!(
                "{name}: expected errors are missing: {missing:?}; unexpected errors: {others:?}\n{said}"
            ));
        }
    }
    if files == 0 {
        bail!("no files found in {}", folder.display());
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Compiles the extension with this file as a module, and returns the compiler's messages.
fn compile(file: &Path, pg_config: &Path) -> Result<String> {
    let mut cargo = command::cargo();
    cargo.args(["check", "--quiet", "--lib", "--message-format", "short"]).args(EXTENSION);
    cargo.args(["--features", "misuse"]);
    cargo.env("PGRX_PG_CONFIG_PATH", pg_config).env("HELIOS_MISUSE", file);
    let output = cargo.output().context("cannot run cargo")?;
    if output.status.success() {
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn marks(text: &str) -> BTreeSet<Mark> {
    let marked = |(number, line): (usize, &str)| {
        let (_, codes) = line.split_once("//~ ")?;
        Some(
            codes
                .split_whitespace()
                .map(move |code| (number + 1, code.to_owned()))
                .collect::<Vec<_>>(),
        )
    };
    text.lines().enumerate().filter_map(marked).flatten().collect()
}

/// Parses errors in short form: `path:line:column: error[E0308]: message`. Errors in other files get line 0.
fn errors(said: &str, file: &Path) -> BTreeSet<Mark> {
    let file = file.display().to_string();
    let of_line = |line: &str| {
        let (place, message) = line.split_once(": error")?;
        if place.starts_with("error") || line.contains("could not compile") {
            return None;
        }
        let number = match place.split_once(&file) {
            Some((_, rest)) => rest.trim_start_matches(':').split(':').next()?.parse().ok()?,
            None => 0,
        };
        let code = match message.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((code, _)) => code.to_owned(),
            None => message.trim_start_matches(": ").split_whitespace().next()?.to_owned(),
        };
        Some((number, code))
    };
    said.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_where_the_compiler_says() {
        let said = "/x/a.rs:7:13: error[E0616]: field `value` is private\n\
                    /x/a.rs:9:5: error: lifetime may not live long enough\n\
                    src/lib.rs:3:1: error[E0425]: cannot find value `y`\n\
                    error: could not compile `helios` (lib) due to 3 previous errors\n";
        let found = errors(said, Path::new("/x/a.rs"));
        let expected = [(0, "E0425"), (7, "E0616"), (9, "lifetime")];
        assert_eq!(found, expected.map(|(line, code)| (line, code.to_owned())).into());
    }

    #[test]
    fn marks_may_name_several_errors() {
        let found = marks("a\nb(); //~ E0451 E0277\n// ~ no mark\n");
        assert_eq!(found, [(2, "E0277"), (2, "E0451")].map(|(l, c)| (l, c.to_owned())).into());
    }
}
