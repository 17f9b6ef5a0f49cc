//! Pages of `docs/` that are made from the program instead of written by hand.

pub mod reference;

mod catalog_pages;
#[cfg(test)]
mod questions;
mod settings_page;
mod sqlstates;
mod sqlstates_page;
