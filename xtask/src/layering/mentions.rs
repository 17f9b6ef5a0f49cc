//! Finds the paths mentioned in code: in types, expressions, patterns, attributes and macro arguments.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemUse, Macro, Path, UseTree};

use super::items;

/// A path and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// Path segments without generic arguments.
    pub path: Vec<String>,
    /// Line number, starting at 1.
    pub line: usize,
}

/// All paths in these items, except in test code and top-level `use` declarations.
pub fn of_items(items: &[Item]) -> Vec<Mention> {
    let mut found = Mentions(Vec::new());
    items::visit_items(&mut found, items);
    found.0
}

struct Mentions(Vec<Mention>);

impl<'a> Visit<'a> for Mentions {
    fn visit_path(&mut self, path: &'a Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
        if path.leading_colon.is_none() {
            self.0.push(Mention { path: names, line });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a Macro) {
        visit::visit_macro(self, call);
        of_tokens(call.tokens.clone(), &mut self.0);
    }

    /// Visits a `use` inside a function.
    fn visit_item_use(&mut self, import: &'a ItemUse) {
        of_use(&import.tree, &mut Vec::new(), &mut self.0);
    }

    fn visit_impl_item_fn(&mut self, function: &'a ImplItemFn) {
        if !items::is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }
}

fn of_use(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<Mention>) {
    let mut leaf = |name: &syn::Ident| {
        let path = before.iter().cloned().chain([name.to_string()]).collect();
        found.push(Mention { path, line: name.span().start().line });
    };
    match tree {
        UseTree::Path(step) => {
            before.push(step.ident.to_string());
            of_use(&step.tree, before, found);
            before.pop();
        }
        UseTree::Name(name) => leaf(&name.ident),
        UseTree::Rename(renamed) => leaf(&renamed.ident),
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            found.push(Mention { path: before.clone(), line });
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| of_use(tree, before, found)),
    }
}

/// Finds paths in macro arguments: names separated by `::` that do not follow a dot.
fn of_tokens(tokens: TokenStream, found: &mut Vec<Mention>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mark = |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == mark);
    let colons = |at: usize| {
        mark(at, ':')
            && mark(at + 1, ':')
            && matches!(&tokens[at], TokenTree::Punct(first) if first.spacing() == Spacing::Joint)
    };
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => of_tokens(group.stream(), found),
            TokenTree::Ident(first) if at == 0 || !mark(at - 1, '.') => {
                let mut path = vec![first.to_string()];
                while let (true, Some(TokenTree::Ident(next))) =
                    (colons(at + 1), tokens.get(at + 3))
                {
                    path.push(next.to_string());
                    at += 3;
                }
                found.push(Mention { path, line: first.span().start().line });
            }
            _ => {}
        }
        at += 1;
    }
}
