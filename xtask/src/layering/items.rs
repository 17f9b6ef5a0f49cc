//! Items of a source file: which are compiled for tests only, and a visitor for the others.

use syn::visit::Visit;
use syn::{Attribute, Item};

/// Whether this item is compiled for tests only.
pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "test")
    })
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Visits items except tests and modules, which are visited separately.
pub fn visit_items<'a>(visitor: &mut impl Visit<'a>, items: &'a [Item]) {
    let code = items.iter().filter(|item| !is_test(attributes(item)));
    code.filter(|item| !matches!(item, Item::Mod(_) | Item::Use(_)))
        .for_each(|item| visitor.visit_item(item));
}
