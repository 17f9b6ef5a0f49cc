//! Checks the layout of the extension's sources: finds files that use a higher room, files that
//! depend on each other in a cycle, `unsafe` outside `src/pg/`, SQL on the extension's tables outside `src/catalog/`, files
//! that are too long, and unused items of `helios-core`.

mod arrows;
mod catalog_sql;
mod items;
mod mentions;
mod sources;
#[cfg(test)]
mod tests;
mod unused;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use proc_macro2::{TokenStream, TokenTree};

use arrows::Arrows;
use sources::Sources;

/// Rooms of the extension from top to bottom: directories or files in `src`. A room may use those on lower lines
/// and itself; rooms on the same line may use each other as long as the files do not form a cycle.
const ROOMS: [&[&str]; 12] = [
    &["lib"],
    &["hooks", "api", "workers"],
    &["cluster", "ddl", "planner", "rebalance", "replica"],
    &["executor", "migration", "stats"],
    &["replication"],
    &["transaction"],
    &["remote", "catalog"],
    &["failpoint"],
    &["shared"],
    &["settings"],
    &["pg"],
    &["error"],
];

/// The only room that may use `unsafe`.
const UNSAFE_ROOM: &str = "pg";

/// Maximum length of a file in lines; aim for about 400.
const LONGEST: usize = 420;

/// Checks the extension and the core of a checkout; returns a message with the place of each violation.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let extension = Sources::read(&root.join("src"))?;
    let mut found = violations(&extension);
    let tables = catalog_sql::tables(&root.join("sql/install"))?;
    found.extend(catalog_sql::check(&extension, &tables));
    let core = Sources::read(&root.join("core/src"))?;
    found.extend(unused::check(&core, &extension));
    Ok(found)
}

/// Finds the violations in these sources.
fn violations(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for file in &sources.files {
        let shown = Path::new("src").join(&file.name);
        let shown = shown.display();
        if file.lines > LONGEST {
            found.push(format!("{shown}: {} lines, maximum is {LONGEST}", file.lines));
        }
        match room_of(&file.name) {
            room if !ROOMS.iter().any(|rooms| rooms.contains(&room.as_str())) => {
                found.push(format!("{shown}: \"{room}\" is not a room"));
            }
            room if room == UNSAFE_ROOM => {}
            _ => {
                let mut lines = BTreeSet::new();
                unsafe_lines(file.tokens.clone(), &mut lines);
                let places = lines
                    .iter()
                    .map(|line| format!("{shown}:{line}: unsafe outside src/{UNSAFE_ROOM}"));
                found.extend(places);
            }
        }
    }
    let arrows = Arrows::find(sources);
    let tie = |from: &str, to: &str| {
        ties(sources, &arrows, from, to).map(|ties| format!("src/{from} uses src/{to}: {ties}"))
    };
    for (from, to) in upward(sources, &arrows) {
        found.push(format!("upward: {}", tie(&from, &to).unwrap_or_default()));
    }
    for circle in circles(sources, &arrows) {
        let mut text = format!("cyclic dependency of {} files:", circle.len());
        let pairs = circle.iter().flat_map(|from| circle.iter().map(move |to| (from, to)));
        for tie in pairs.filter_map(|(from, to)| tie(from, to)) {
            let _ = write!(text, "\n    {tie}");
        }
        found.push(text);
    }
    found
}

/// The room of a file: its directory, or the file itself at the top level.
fn room_of(name: &Path) -> String {
    let first = name.components().next().map(|part| part.as_os_str().to_string_lossy());
    first.unwrap_or_default().trim_end_matches(".rs").to_owned()
}

fn unsafe_lines(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => unsafe_lines(group.stream(), lines),
            TokenTree::Ident(word) if word == "unsafe" => {
                lines.insert(word.span().start().line);
            }
            _ => {}
        }
    }
}

/// Finds the uses of a higher room.
fn upward(sources: &Sources, arrows: &Arrows) -> BTreeSet<(String, String)> {
    let height = |file: usize| {
        let room = room_of(&sources.files[file].name);
        ROOMS.iter().position(|rooms| rooms.contains(&room.as_str()))
    };
    let up = arrows.0.keys().filter(|(from, to)| match (height(*from), height(*to)) {
        (Some(from), Some(to)) => to < from,
        _ => false,
    });
    up.map(|&(from, to)| (name(sources, from), name(sources, to))).collect()
}

fn circles(sources: &Sources, arrows: &Arrows) -> Vec<BTreeSet<String>> {
    let named = |circle: Vec<usize>| circle.into_iter().map(|file| name(sources, file)).collect();
    arrows.circles().into_iter().map(named).collect()
}

fn name(sources: &Sources, file: usize) -> String {
    sources.files[file].name.display().to_string()
}

/// Describes the dependency of one file on another: the paths and their lines.
fn ties(sources: &Sources, arrows: &Arrows, from: &str, to: &str) -> Option<String> {
    let file = |wanted: &str| sources.files.iter().position(|file| file.name == Path::new(wanted));
    let ties = arrows.0.get(&(file(from)?, file(to)?))?;
    let shown: Vec<_> = ties.iter().map(|(line, path)| format!("{path} in line {line}")).collect();
    Some(shown.join(", "))
}
