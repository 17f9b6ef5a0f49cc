//! Converts the extension's declarations of server functions and variables to C.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, FnArg, ForeignItem, GenericArgument, Item, Meta, PathArguments, ReturnType, Token,
    Type,
};

/// One declaration in C.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prototype {
    /// Name in the server.
    pub name: String,
    /// The whole declaration, with the name in parentheses so that a macro of that name is not expanded.
    pub text: String,
    /// Line of the declaration in Rust.
    pub line: usize,
}

/// Converts the declarations in the `extern` blocks of a source file, as compiled for this version.
pub fn of_source(text: &str, major: u32) -> Result<Vec<Prototype>> {
    let file = syn::parse_file(text)?;
    let mut aliases = HashMap::new();
    let mut blocks = Vec::new();
    collect(&file.items, &mut aliases, &mut blocks);
    let mut found = Vec::new();
    for item in blocks {
        let (attributes, name) = match item {
            ForeignItem::Fn(function) => (&function.attrs, function.sig.ident.to_string()),
            ForeignItem::Static(variable) => (&variable.attrs, variable.ident.to_string()),
            _ => continue,
        };
        let Some(linked) = link_name(attributes, major)? else { continue };
        let name = if linked.is_empty() { name } else { linked };
        let line = item.span().start().line;
        let text = declaration(item, &name, &aliases);
        let text = text.with_context(|| format!("line {line}: {name}"))?;
        found.push(Prototype { name, text, line });
    }
    Ok(found)
}

/// Collects the type aliases in a source file.
pub fn aliases(items: &[Item]) -> Aliases<'_> {
    let mut aliases = HashMap::new();
    collect(items, &mut aliases, &mut Vec::new());
    aliases
}

/// Types by alias.
pub type Aliases<'a> = HashMap<String, &'a Type>;

fn collect<'a>(items: &'a [Item], aliases: &mut Aliases<'a>, blocks: &mut Vec<&'a ForeignItem>) {
    for item in items {
        match item {
            Item::ForeignMod(block) => blocks.extend(&block.items),
            Item::Type(alias) => {
                aliases.insert(alias.ident.to_string(), &alias.ty);
            }
            Item::Mod(module) => {
                let items = module.content.iter().flat_map(|(_, items)| items);
                items.for_each(|item| collect(std::slice::from_ref(item), aliases, blocks));
            }
            Item::Fn(function) => {
                let inner = function.block.stmts.iter().filter_map(|statement| match statement {
                    syn::Stmt::Item(item) => Some(item),
                    _ => None,
                });
                inner.for_each(|item| collect(std::slice::from_ref(item), aliases, blocks));
            }
            _ => {}
        }
    }
}

/// The name given to the linker by attributes, empty if none; `None` if the item is not compiled.
fn link_name(attributes: &[Attribute], major: u32) -> Result<Option<String>> {
    let mut name = String::new();
    for attribute in attributes {
        if attribute.path().is_ident("cfg") {
            if !holds(&attribute.parse_args()?, major)? {
                return Ok(None);
            }
        } else if attribute.path().is_ident("cfg_attr") {
            let parts =
                attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
            let mut parts = parts.iter();
            if parts.next().map_or(Ok(false), |condition| holds(condition, major))? {
                parts.for_each(|meta| name = linked(meta).unwrap_or(std::mem::take(&mut name)));
            }
        } else if let Some(given) = linked(&attribute.meta) {
            name = given;
        }
    }
    Ok(Some(name))
}

fn linked(meta: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = meta else { return None };
    string(pair).filter(|_| pair.path.is_ident("link_name"))
}

fn string(pair: &syn::MetaNameValue) -> Option<String> {
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// Evaluates a `cfg` condition for a release build for this version.
fn holds(condition: &Meta, major: u32) -> Result<bool> {
    match condition {
        Meta::Path(path) => Ok(path.is_ident("unix")),
        Meta::NameValue(pair) if pair.path.is_ident("feature") => {
            Ok(string(pair) == Some(format!("pg{major}")))
        }
        Meta::NameValue(_) => bail!("unsupported cfg condition"),
        Meta::List(list) => {
            let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
            let parts = parts.iter().map(|part| holds(part, major));
            let parts = parts.collect::<Result<Vec<bool>>>()?;
            Ok(match () {
                () if list.path.is_ident("not") => !parts.contains(&true),
                () if list.path.is_ident("any") => parts.contains(&true),
                () => !parts.contains(&false),
            })
        }
    }
}

fn declaration(item: &ForeignItem, name: &str, aliases: &Aliases<'_>) -> Result<String> {
    match item {
        ForeignItem::Fn(function) => {
            let mut arguments = Vec::new();
            for input in &function.sig.inputs {
                let FnArg::Typed(input) = input else { bail!("unexpected method") };
                arguments.push(in_c(&input.ty, "", aliases)?);
            }
            if function.sig.variadic.is_some() {
                arguments.push("...".to_owned());
            }
            let arguments =
                if arguments.is_empty() { "void".to_owned() } else { arguments.join(", ") };
            result(&function.sig.output, &format!("({name})({arguments})"), aliases)
        }
        ForeignItem::Static(variable) => in_c(&variable.ty, &format!("({name})"), aliases),
        _ => bail!("expected a function or a variable"),
    }
}

fn result(output: &ReturnType, declared: &str, aliases: &Aliases<'_>) -> Result<String> {
    match output {
        ReturnType::Default => Ok(format!("void {declared}")),
        ReturnType::Type(_, result) => match result.as_ref() {
            Type::Never(_) => Ok(format!("void {declared}")),
            result => in_c(result, declared, aliases),
        },
    }
}

/// Declares `declared` with this type in C; gives the bare type if `declared` is empty.
pub fn in_c(rust: &Type, declared: &str, aliases: &Aliases<'_>) -> Result<String> {
    qualified(rust, "", declared, aliases)
}

/// Like [`in_c`], with a `const` qualifier.
fn qualified(
    rust: &Type,
    qualifier: &str,
    declared: &str,
    aliases: &Aliases<'_>,
) -> Result<String> {
    match rust {
        Type::Ptr(pointer) => {
            let pointed = if pointer.const_token.is_some() { "const " } else { "" };
            qualified(&pointer.elem, pointed, &format!("*{qualifier}{declared}"), aliases)
        }
        Type::Array(array) => qualified(&array.elem, qualifier, &format!("{declared}[]"), aliases),
        Type::Paren(inner) => qualified(&inner.elem, qualifier, declared, aliases),
        Type::Tuple(nothing) if nothing.elems.is_empty() => {
            Ok(format!("{qualifier}void {declared}").trim_end().to_owned())
        }
        Type::BareFn(function) => {
            let arguments = function.inputs.iter().map(|input| in_c(&input.ty, "", aliases));
            let arguments = arguments.collect::<Result<Vec<_>>>()?;
            let arguments =
                if arguments.is_empty() { "void".to_owned() } else { arguments.join(", ") };
            result(&function.output, &format!("(*{qualifier}{declared})({arguments})"), aliases)
        }
        Type::Path(path) => {
            let segments: Vec<String> =
                path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            // Enums in the bindings are modules with a type `Type`.
            let last = path.path.segments.iter().rfind(|segment| segment.ident != "Type");
            let last = last.context("unnamed type")?;
            let name = last.ident.to_string();
            if let PathArguments::AngleBracketed(arguments) = &last.arguments
                && let Some(GenericArgument::Type(inner)) = arguments.args.first()
            {
                // A nullable function pointer.
                return qualified(inner, qualifier, declared, aliases);
            }
            if let (1, Some(alias)) = (segments.len(), aliases.get(&name)) {
                return qualified(alias, qualifier, declared, aliases);
            }
            Ok(format!("{qualifier}{} {declared}", named(&name)).trim_end().to_owned())
        }
        _ => bail!("type without a C equivalent"),
    }
}

fn named(rust: &str) -> &str {
    match rust {
        "c_int" | "i32" => "int",
        "c_uint" | "u32" => "unsigned int",
        "c_char" => "char",
        "c_void" => "void",
        "c_long" => "long",
        "u8" => "unsigned char",
        "i8" => "signed char",
        "u16" => "unsigned short",
        "i16" => "short",
        "u64" => "uint64",
        "i64" => "int64",
        "usize" => "size_t",
        "isize" => "ssize_t",
        // Types with different names in the extension.
        "CommMethods" => "PQcommMethods",
        "f64" => "double",
        "f32" => "float",
        other => other,
    }
}
