//! Finds items of `helios-core` that production code does not use: rules exercised only by their own tests prove nothing.
//!
//! Items are identified by name alone, so a name in use also covers unrelated items of the same name; whatever is
//! reported is unused. Methods may be called anywhere; everything else only in files that name the crate.

use std::collections::BTreeSet;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemImpl, Visibility};

use super::items;
use super::sources::Sources;

/// A named piece of code and the names it mentions.
struct Piece {
    name: String,
    is_method: bool,
    is_public: bool,
    line: usize,
    words: BTreeSet<String>,
}

/// Name of the core crate in paths.
const CRATE: &str = "helios_core";

/// Public items of `core` reachable neither from the extension nor from another reachable item.
pub fn check(core: &Sources, extension: &Sources) -> Vec<String> {
    let (mut by_callers, mut anywhere) = (BTreeSet::new(), BTreeSet::new());
    for file in &extension.files {
        let mut here = BTreeSet::new();
        words(file.tokens.clone(), &mut here);
        if here.contains(CRATE) {
            by_callers.extend(here.iter().cloned());
        }
        anywhere.append(&mut here);
    }
    let mut pieces = Vec::new();
    for (index, file) in core.files.iter().enumerate() {
        let Ok(syntax) = syn::parse2::<syn::File>(file.tokens.clone()) else { continue };
        let mut collector = Collector::default();
        items::visit_items(&mut collector, &syntax.items);
        pieces.extend(collector.pieces.into_iter().map(|piece| (index, piece)));
    }
    let mut reached = vec![false; pieces.len()];
    let mut names = by_callers;
    loop {
        let mut more = BTreeSet::new();
        for (reached, (_, piece)) in reached.iter_mut().zip(&pieces) {
            let is_called = piece.is_method && anywhere.contains(&piece.name);
            if !*reached && (is_called || names.contains(&piece.name)) {
                *reached = true;
                more.extend(piece.words.iter().cloned());
            }
        }
        if more.is_empty() {
            break;
        }
        names.append(&mut more);
    }
    let idle =
        pieces.iter().zip(&reached).filter(|((_, piece), reached)| piece.is_public && !**reached);
    let idle = idle.map(|(piece, _)| piece);
    idle.map(|(file, piece)| {
        let file = Path::new("core/src").join(&core.files[*file].name);
        let (shown, line, name) = (file.display(), piece.line, &piece.name);
        format!("{shown}:{line}: {name} is public, but not used in production code")
    })
    .collect()
}

fn words(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => words(group.stream(), found),
            TokenTree::Ident(word) => {
                found.insert(word.to_string());
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Collector {
    pieces: Vec<Piece>,
    in_impl: bool,
}

impl Collector {
    fn add(
        &mut self,
        name: String,
        visibility: &Visibility,
        code: &(impl quote::ToTokens + Spanned),
    ) {
        let mut names = BTreeSet::new();
        words(code.to_token_stream(), &mut names);
        let is_public = matches!(visibility, Visibility::Public(_));
        let (is_method, line) = (self.in_impl, code.span().start().line);
        self.pieces.push(Piece { name, is_method, is_public, line, words: names });
    }
}

impl<'a> Visit<'a> for Collector {
    fn visit_item(&mut self, item: &'a Item) {
        match item {
            Item::Const(i) => self.add(i.ident.to_string(), &i.vis, i),
            Item::Enum(i) => self.add(i.ident.to_string(), &i.vis, i),
            Item::Fn(i) => self.add(i.sig.ident.to_string(), &i.vis, i),
            Item::Static(i) => self.add(i.ident.to_string(), &i.vis, i),
            Item::Struct(i) => self.add(i.ident.to_string(), &i.vis, i),
            Item::Trait(i) => self.add(i.ident.to_string(), &i.vis, i),
            Item::Type(i) => self.add(i.ident.to_string(), &i.vis, i),
            item => visit::visit_item(self, item),
        }
    }

    /// Records methods by name; trait implementations belong to their types.
    fn visit_item_impl(&mut self, block: &'a ItemImpl) {
        match (&block.trait_, block.self_ty.as_ref()) {
            (Some(_), syn::Type::Path(path)) => {
                let name = path.path.segments.last().map(|segment| segment.ident.to_string());
                self.add(name.unwrap_or_default(), &Visibility::Inherited, block);
            }
            _ => {
                self.in_impl = true;
                visit::visit_item_impl(self, block);
                self.in_impl = false;
            }
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a ImplItemFn) {
        if !items::is_test(&function.attrs) {
            self.add(function.sig.ident.to_string(), &function.vis, function);
        }
    }
}
