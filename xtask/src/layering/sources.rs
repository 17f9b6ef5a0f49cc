//! The modules of a crate as declared by its files, with the names they define and the paths they use.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::TokenStream;
use syn::{Item, UseTree, Visibility};

use super::items::{attributes, is_test};
use super::mentions::{self, Mention};

/// A module: a file, or a `mod name { … }` within one.
#[derive(Debug, Default)]
pub struct Module {
    /// Path from the crate root.
    pub path: Vec<String>,
    /// Index of its file in [`Sources::files`].
    pub file: usize,
    /// Names defined, declared or imported here; functions and modules may share a name.
    pub names: HashMap<String, Vec<Name>>,
    /// Modules imported with a glob.
    pub globs: Vec<Vec<String>>,
    /// Paths in the code, including `use` declarations.
    pub mentions: Vec<Mention>,
}

/// What a name in a module refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// An item defined in this file.
    Item,
    /// A module declared here.
    Module(usize),
    /// An import, with its path as written.
    Alias(Vec<String>),
}

/// A source file.
#[derive(Debug)]
pub struct File {
    /// Path below the crate's `src`.
    pub name: PathBuf,
    /// Contents as tokens.
    pub tokens: TokenStream,
    /// Number of lines.
    pub lines: usize,
}

/// The files and modules of a crate without its tests. Module 0 is the root.
#[derive(Debug, Default)]
pub struct Sources {
    /// All files, in order of declaration.
    pub files: Vec<File>,
    /// All modules, parents before children.
    pub modules: Vec<Module>,
}

impl Sources {
    /// Reads the crate whose root is `lib.rs` in this directory.
    pub fn read(src: &Path) -> Result<Self> {
        let mut sources = Self::default();
        sources.read_file(src, Path::new("lib.rs"), Vec::new())?;
        Ok(sources)
    }

    /// Reads a file and the files of the modules it declares; returns its module.
    fn read_file(&mut self, src: &Path, name: &Path, path: Vec<String>) -> Result<usize> {
        let shown = src.join(name);
        let text = fs::read_to_string(&shown)
            .with_context(|| format!("cannot read {}", shown.display()))?;
        let lexed = text.parse().map_err(|error| anyhow::anyhow!("{}: {error}", shown.display()));
        let syntax = syn::parse_file(&text);
        let syntax = syntax.with_context(|| format!("{}: cannot be parsed", shown.display()))?;
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
            // Re-exporting a child's items is not a use of them.
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

/// One name imported by a `use`; a glob import if `name` is `None`.
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

/// The file of a module: `a/b.rs`, or `a/b/mod.rs` if it exists.
fn file_of(src: &Path, path: &[String]) -> PathBuf {
    let folder: PathBuf = path.iter().collect();
    let inside = folder.join("mod.rs");
    if src.join(&inside).exists() { inside } else { folder.with_extension("rs") }
}

/// The name defined by an item.
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
