//! Structures of the server that the extension declares itself, and the C assertions that compare them with the headers.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use syn::spanned::Spanned;
use syn::{Item, ItemStruct, Type};

use super::prototypes::{self, Aliases};

/// Structure names in the extension and in the headers.
const COMPARED: [(&str, &str); 1] = [("CommMethods", "PQcommMethods")];

/// Structures with C layout that are in no header, with an explanation.
pub const NOT_COMPARED: [(&str, &str); 2] = [
    ("PrintReceiver", "the head of printtup.c's DR_printtup, which is in no header"),
    ("State", "the extension's own, behind the bindings' CustomScanState"),
];

/// Comparison of one structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The comparison, in C.
    pub text: String,
    /// Line of the structure in Rust.
    pub line: usize,
}

/// Converts the structures with C layout in a source file. It is an error if one is neither compared nor excluded.
pub fn of_source(text: &str) -> Result<Vec<Structure>> {
    let file = syn::parse_file(text)?;
    let aliases = prototypes::aliases(&file.items);
    let mut found = Vec::new();
    for item in &file.items {
        let Item::Struct(structure) = item else { continue };
        let is_in_c = structure.attrs.iter().any(|attribute| {
            attribute.path().is_ident("repr")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|layout| layout == "C")
        });
        let name = structure.ident.to_string();
        if !is_in_c || NOT_COMPARED.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let Some((_, server)) = COMPARED.iter().find(|(here, _)| *here == name) else {
            bail!("structure {name} has C layout, but is not listed in structures.rs");
        };
        let line = item.span().start().line;
        found.push(Structure { text: comparison(structure, server, &aliases)?, line });
    }
    Ok(found)
}

/// Compares the size, the offset of each field, and its type unless it is an untyped pointer.
fn comparison(structure: &ItemStruct, server: &str, aliases: &Aliases<'_>) -> Result<String> {
    let here = format!("struct rust_{}", structure.ident);
    let (mut fields, mut checks) = (String::new(), String::new());
    for field in &structure.fields {
        let Some(name) = &field.ident else { bail!("unnamed field") };
        let _ = write!(fields, "{}; ", prototypes::in_c(&field.ty, &name.to_string(), aliases)?);
        let mut check = |what: &str, holds: String| {
            let _ = write!(checks, " _Static_assert({holds}, \"{what} of {server}.{name}\");");
        };
        check("offset", format!("offsetof({here}, {name}) == offsetof({server}, {name})"));
        if !is_untyped(&field.ty) {
            let of = |whole: &str| format!("__typeof__((({whole} *) 0)->{name})");
            let (ours, theirs) = (of(&here), of(server));
            check("type", format!("__builtin_types_compatible_p({ours}, {theirs})"));
        }
    }
    let size = format!("sizeof({here}) == sizeof({server})");
    Ok(format!("{here} {{ {fields}}}; _Static_assert({size}, \"size of {server}\");{checks}"))
}

/// Whether this is an untyped pointer.
fn is_untyped(field: &Type) -> bool {
    matches!(field, Type::Ptr(pointer) if matches!(&*pointer.elem, Type::Tuple(unit) if unit.elems.is_empty()))
}
