//! Reads the extension's sources and finds what breaks the layout: a `use` that points upward, an
//! `unsafe` outside `src/pg/`, a file that has grown too long.

mod lexer;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Rooms of the extension from top to bottom. A room may use those on lower lines and itself;
/// rooms on one line may use each other.
const ROOMS: [&[&str]; 8] = [
    &["hooks", "workers", "api"],
    &["cluster", "planner", "ddl", "rebalance", "replica"],
    &["executor", "migration", "stats"],
    &["replication"],
    &["transaction"],
    &["remote"],
    &["catalog"],
    &["pg", "settings", "error", "failpoint"],
];

/// Longest file allowed, in lines.
const LONGEST: usize = 500;

/// Checks every file below `src` of a checkout; returns the violations, each with its place.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let src = root.join("src");
    let mut found = Vec::new();
    let mut waiting = vec![src.clone()];
    let mut files = 0;
    while let Some(dir) = waiting.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                let name = path.strip_prefix(&src).unwrap_or(&path);
                found.extend(check_file(name, &text));
                files += 1;
            }
        }
    }
    if files == 0 {
        found.push(format!("{}: no source files", src.display()));
    }
    found.sort();
    Ok(found)
}

/// Checks one file, named by its path below `src`.
pub fn check_file(name: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let shown = Path::new("src").join(name);
    let shown = shown.display();
    let lines = text.lines().count();
    if lines > LONGEST {
        found.push(format!("{shown}: {lines} lines, more than {LONGEST}"));
    }
    let room = room_of(name);
    let words = lexer::words(text);
    for (i, word) in words.iter().enumerate() {
        if word.text == "unsafe" && room != "pg" {
            found.push(format!("{shown}:{}: unsafe outside src/pg", word.line));
        }
        // `crate::room` in a path, and `crate::{room::…, other::…}` in a grouped use.
        if word.text == "crate" && words.get(i + 1).is_some_and(|next| next.text == "::") {
            for used in used_rooms(&words[i + 2..]) {
                if points_upward(&room, used) {
                    found.push(format!("{shown}:{}: {room} uses {used}", word.line));
                }
            }
        }
    }
    found
}

/// The room that a file belongs to: its folder, or its own name at the top.
fn room_of(name: &Path) -> String {
    let first = name.components().next().map(|part| part.as_os_str().to_string_lossy());
    first.unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// The rooms named right behind `crate::`.
fn used_rooms<'a>(words: &[lexer::Word<'a>]) -> Vec<&'a str> {
    let Some(first) = words.first() else { return Vec::new() };
    if first.text != "{" {
        return vec![first.text];
    }
    let mut depth = 0;
    let mut used = Vec::new();
    let mut at_start = false;
    for word in words {
        match word.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if at_start => used.push(word.text),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        at_start = depth == 1 && matches!(word.text, "{" | ",");
    }
    used
}

/// `lib.rs` may use everything; what is in no list (a macro, a re-export of `lib.rs`) everybody.
fn points_upward(user: &str, used: &str) -> bool {
    let height = |room: &str| ROOMS.iter().position(|rooms| rooms.contains(&room));
    match (height(user), height(used)) {
        (Some(user), Some(used)) => used < user,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str) -> Vec<String> {
        check_file(Path::new(name), text)
    }

    #[test]
    fn upward_arrow_is_found() {
        let found = check("remote/session.rs", "use std::fmt;\nuse crate::executor::copy;\n");
        assert_eq!(found, ["src/remote/session.rs:2: remote uses executor"]);
    }

    #[test]
    fn upward_arrow_in_a_path_is_found() {
        let found = check("pg/hooks.rs", "fn f() { crate::planner::plan() }");
        assert_eq!(found, ["src/pg/hooks.rs:1: pg uses planner"]);
    }

    #[test]
    fn upward_arrow_in_a_group_is_found() {
        let text = "use crate::{directory::{self, Node}, api::nodes, pg};";
        assert_eq!(check("catalog/mod.rs", text), ["src/catalog/mod.rs:1: catalog uses api"]);
    }

    #[test]
    fn downward_and_level_arrows_are_allowed() {
        let text = "use crate::pg::xact;\nuse crate::error::Result;\nuse crate::ddl;\n";
        assert!(check("planner/mod.rs", text).is_empty());
        assert!(check("lib.rs", "use crate::api;").is_empty());
    }

    #[test]
    fn unsafe_outside_pg_is_found() {
        assert_eq!(
            check("executor/scan.rs", "fn f() {\n    unsafe { g() }\n}\n"),
            ["src/executor/scan.rs:2: unsafe outside src/pg"]
        );
        assert_eq!(check("lib.rs", "unsafe fn f() {}"), ["src/lib.rs:1: unsafe outside src/pg"]);
        assert!(check("pg/wait.rs", "unsafe fn f() {}").is_empty());
    }

    #[test]
    fn comments_and_strings_do_not_count() {
        let text = "// unsafe crate::api::x\n/* unsafe /* nested */ crate::api */\n\
                    //! use crate::api;\nconst A: &str = \"unsafe \\\" crate::api\";\n\
                    const B: &str = r#\"unsafe \" crate::api\"#;\nconst C: char = '\"';\n\
                    fn f<'a>(x: &'a str) {}\n#![deny(unsafe_code)]\n";
        assert!(check("pg/x.rs", text).is_empty());
        assert!(check("remote/x.rs", text).is_empty(), "{:?}", check("remote/x.rs", text));
    }

    #[test]
    fn code_behind_strings_and_characters_still_counts() {
        let text = "const A: char = '\\'';\nconst B: &[u8] = b\"\\\\\";\nuse crate::api;";
        assert_eq!(check("remote/x.rs", text), ["src/remote/x.rs:3: remote uses api"]);
    }

    #[test]
    fn long_file_is_found() {
        assert_eq!(
            check("api/x.rs", &"\n".repeat(501)),
            ["src/api/x.rs: 501 lines, more than 500"]
        );
        assert!(check("api/x.rs", &"\n".repeat(500)).is_empty());
    }

    #[test]
    fn bad_checkout_is_found() {
        let root = std::env::temp_dir().join(format!("helios-layering-{}", std::process::id()));
        fs::create_dir_all(root.join("src/remote")).unwrap();
        fs::write(root.join("src/lib.rs"), "mod remote;").unwrap();
        fs::write(root.join("src/remote/mod.rs"), "use crate::planner;").unwrap();
        let found = super::check(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, ["src/remote/mod.rs:1: remote uses planner"]);
    }
}
