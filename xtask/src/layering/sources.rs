//! The modules of a crate as its files declare them: which names each one has, and what its code names.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::TokenStream;
use syn::{Item, UseTree, Visibility};

use super::items::{attributes, is_test};
use super::mentions::{self, Mention};

/// One module: a file, or a `mod name { … }` in one.
#[derive(Debug, Default)]
pub struct Module {
    /// Its name from the crate's root on.
    pub path: Vec<String>,
    /// Number of its file in [`Sources::files`].
    pub file: usize,
    /// What is defined, declared or imported here; functions and modules may share a name.
    pub names: HashMap<String, Vec<Name>>,
    /// Modules that all names are imported from.
    pub globs: Vec<Vec<String>>,
    /// Paths in the code, `use` declarations included.
    pub mentions: Vec<Mention>,
}

/// What a name of a module stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// Something that this file defines.
    Item,
    /// A module declared here.
    Module(usize),
    /// Something imported, by its path as written.
    Alias(Vec<String>),
}

/// A source file.
#[derive(Debug)]
pub struct File {
    /// Below the crate's `src`.
    pub name: PathBuf,
    /// Its text as tokens.
    pub tokens: TokenStream,
    /// Its number of lines.
    pub lines: usize,
}

/// A crate's files and modules without its tests. Module 0 is the root.
#[derive(Debug, Default)]
pub struct Sources {
    /// All files, in the order in which they are declared.
    pub files: Vec<File>,
    /// All modules, parents first.
    pub modules: Vec<Module>,
}

impl Sources {
    /// Reads the crate whose root is `lib.rs` in this folder.
    pub fn read(src: &Path) -> Result<Self> {
        let mut sources = Self::default();
        sources.read_file(src, Path::new("lib.rs"), Vec::new())?;
        Ok(sources)
    }

    /// Reads one file and those of the modules that it declares; returns its module.
    fn read_file(&mut self, src: &Path, name: &Path, path: Vec<String>) -> Result<usize> {
        let shown = src.join(name);
        let text = fs::read_to_string(&shown)
            .with_context(|| format!("cannot read {}", shown.display()))?;
        let lexed = text.parse().map_err(|error| anyhow::anyhow!("{}: {error}", shown.display()));
        let syntax = syn::parse_file(&text);
        let syntax = syntax.with_context(|| format!("{}: not understood", shown.display()))?;
        let file = self.files.len();
        self.files.push(File { name: name.into(), tokens: lexed?, lines: text.lines().count() });
        self.read_module(src, file, path, &syntax.items)
    }

    fn read_module(
        &mut self,
        src: &Path,
        file: usize,
        path: Vec<String>,
        items: &[Item],
    ) -> Result<usize> {
        let index = self.modules.len();
        let mentions = mentions::of_items(items);
        self.modules.push(Module { path, file, mentions, ..Module::default() });
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(module) => {
                    let name = module.ident.to_string();
                    let mut path = self.modules[index].path.clone();
                    path.push(name.clone());
                    let child = match &module.content {
                        Some((_, items)) => self.read_module(src, file, path, items)?,
                        None => {
                            let file = file_of(src, &path);
                            self.read_file(src, &file, path)?
                        }
                    };
                    self.name(index, name, Name::Module(child));
                }
                Item::Use(import) => {
                    let mut leaves = Vec::new();
                    flatten(&import.tree, &mut Vec::new(), &mut leaves);
                    self.import(index, &import.vis, leaves);
                }
                item => {
                    if let Some(name) = defined(item) {
                        self.name(index, name, Name::Item);
                    }
                }
            }
        }
        Ok(index)
    }

    fn name(&mut self, module: usize, name: String, stands_for: Name) {
        self.modules[module].names.entry(name).or_default().push(stands_for);
    }

    fn import(&mut self, module: usize, visibility: &Visibility, leaves: Vec<Leaf>) {
        for leaf in leaves {
            // Handing a child's items on is listing them, not using them.
            let hands_on = !matches!(visibility, Visibility::Inherited);
            let own_child = leaf.path.first().is_some_and(|first| {
                let names = self.modules[module].names.get(first);
                first == "self"
                    || names.is_some_and(|n| n.iter().any(|n| matches!(n, Name::Module(_))))
            });
            match leaf.name {
                Some(name) => self.name(module, name, Name::Alias(leaf.path.clone())),
                None => self.modules[module].globs.push(leaf.path.clone()),
            }
            if !(hands_on && own_child) {
                self.modules[module].mentions.push(Mention { path: leaf.path, line: leaf.line });
            }
        }
    }
}

/// One name that a `use` brings in; all names of a module where `name` is None.
struct Leaf {
    path: Vec<String>,
    name: Option<String>,
    line: usize,
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    let mut leaf = |last: &syn::Ident, name: &syn::Ident| {
        let mut path = before.clone();
        let (mut name, line) = (name.to_string(), last.span().start().line);
        if last == "self" {
            name = if name == "self" { path.last().cloned().unwrap_or_default() } else { name };
        } else {
            path.push(last.to_string());
        }
        leaves.push(Leaf { path, name: Some(name), line });
    };
    match tree {
        UseTree::Path(step) => {
            before.push(step.ident.to_string());
            flatten(&step.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) => leaf(&name.ident, &name.ident),
        UseTree::Rename(renamed) => leaf(&renamed.ident, &renamed.rename),
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            leaves.push(Leaf { path: before.clone(), name: None, line });
        }
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, before, leaves));
        }
    }
}

/// The file of a module: `a/b.rs`, or `a/b/mod.rs` where that one exists.
fn file_of(src: &Path, path: &[String]) -> PathBuf {
    let folder: PathBuf = path.iter().collect();
    let inside = folder.join("mod.rs");
    if src.join(&inside).exists() { inside } else { folder.with_extension("rs") }
}

/// The name that an item defines.
fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
