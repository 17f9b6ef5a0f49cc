//! Which file uses which: every path is followed, through imports and re-exports, to the file that defines what it names.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::sources::{Name, Sources};

/// What ties one file to another: line and path, as written.
pub type Ties = BTreeSet<(usize, String)>;

/// The uses of a crate's files among each other, by their numbers.
#[derive(Debug, Default)]
pub struct Arrows(pub BTreeMap<(usize, usize), Ties>);

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// To an item of this file.
    Item(usize),
    /// To a module.
    Module(usize),
}

/// Imports of imports are followed so far.
const DEPTH: usize = 16;

impl Arrows {
    /// All arrows of these sources.
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

    /// Files that use each other in a circle, each circle as a whole, sorted.
    pub fn circles(&self) -> Vec<Vec<usize>> {
        let graph: DiGraphMap<usize, ()> = DiGraphMap::from_edges(self.0.keys().copied());
        let mut circles = tarjan_scc(&graph);
        circles.retain(|circle| circle.len() > 1);
        circles.iter_mut().for_each(|circle| circle.sort_unstable());
        circles.sort();
        circles
    }
}

/// Where a path leads that is written in a module; nothing for names of other crates and local names.
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

/// From what a path has led to so far, by one more name. What belongs to an item is in the item's file; what a module
/// does not declare, a macro has made there.
fn step(sources: &Sources, target: Target, name: &str, depth: usize) -> Vec<Target> {
    let Target::Module(module) = target else { return vec![target] };
    if name == "super" {
        return vec![Target::Module(parent(sources, module))];
    }
    let found = look_up(sources, module, name, depth);
    if found.is_empty() { vec![Target::Item(sources.modules[module].file)] } else { found }
}

/// What a name stands for in a module.
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
