//! Finds which files use which: follows every path through imports and re-exports to the file that defines the item.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::sources::{Name, Sources};

/// A dependency between two files: line number and path as written.
pub type Ties = BTreeSet<(usize, String)>;

/// Dependencies between the files of a crate, by file number.
#[derive(Debug, Default)]
pub struct Arrows(pub BTreeMap<(usize, usize), Ties>);

/// What a path resolves to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// An item of this file.
    Item(usize),
    /// A module.
    Module(usize),
}

/// Maximum depth to which imports of imports are followed.
const DEPTH: usize = 16;

impl Arrows {
    /// Finds all dependencies in these sources.
    pub fn find(sources: &Sources) -> Self {
        let mut arrows = Self::default();
        for (index, module) in sources.modules.iter().enumerate() {
            for mention in &module.mentions {
                let targets = resolve(sources, index, &mention.path, DEPTH);
                for target in targets {
                    let Target::Item(file) = target else { continue };
                    if file != module.file {
                        let ties = arrows.0.entry((module.file, file)).or_default();
                        ties.insert((mention.line, mention.path.join("::")));
                    }
                }
            }
        }
        arrows
    }

    /// Cycles between files, each complete and sorted.
    pub fn circles(&self) -> Vec<Vec<usize>> {
        let graph: DiGraphMap<usize, ()> = DiGraphMap::from_edges(self.0.keys().copied());
        let mut circles = tarjan_scc(&graph);
        circles.retain(|circle| circle.len() > 1);
        circles.iter_mut().for_each(|circle| circle.sort_unstable());
        circles.sort();
        circles
    }
}

/// Resolves a path written in a module; empty for names of other crates and local names.
fn resolve(sources: &Sources, from: usize, path: &[String], depth: usize) -> Vec<Target> {
    let Some((first, rest)) = path.split_first().filter(|_| depth > 0) else { return Vec::new() };
    let start = match first.as_str() {
        "crate" => vec![Target::Module(0)],
        "self" => vec![Target::Module(from)],
        "super" => vec![Target::Module(parent(sources, from))],
        name => look_up(sources, from, name, depth),
    };
    let mut targets = start;
    for name in rest {
        targets =
            targets.into_iter().flat_map(|target| step(sources, target, name, depth)).collect();
    }
    targets
}

fn parent(sources: &Sources, module: usize) -> usize {
    let path = &sources.modules[module].path;
    let above = &path[..path.len().saturating_sub(1)];
    sources.modules.iter().position(|module| module.path == above).unwrap_or(0)
}

/// Resolves one more segment of a path. Names inside an item are in the item's file; names that a module
/// does not declare were generated there by a macro.
fn step(sources: &Sources, target: Target, name: &str, depth: usize) -> Vec<Target> {
    let Target::Module(module) = target else { return vec![target] };
    if name == "super" {
        return vec![Target::Module(parent(sources, module))];
    }
    let found = look_up(sources, module, name, depth);
    if found.is_empty() { vec![Target::Item(sources.modules[module].file)] } else { found }
}

/// Looks up a name in a module.
fn look_up(sources: &Sources, module: usize, name: &str, depth: usize) -> Vec<Target> {
    let here = &sources.modules[module];
    if let Some(names) = here.names.get(name) {
        let follow = |name: &Name| match name {
            Name::Item => vec![Target::Item(here.file)],
            Name::Module(module) => vec![Target::Module(*module)],
            Name::Alias(path) => resolve(sources, module, path, depth - 1),
        };
        return names.iter().flat_map(follow).collect();
    }
    for glob in &here.globs {
        for target in resolve(sources, module, glob, depth - 1) {
            let Target::Module(other) = target else { continue };
            if other != module && depth > 1 {
                let found = look_up(sources, other, name, depth - 1);
                if !found.is_empty() {
                    return found;
                }
            }
        }
    }
    Vec::new()
}
