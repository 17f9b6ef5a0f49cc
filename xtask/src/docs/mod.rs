//! The pages of `docs/`: generated pages, link checks, and the book.

pub mod book;
pub mod links;
pub mod reference;

mod catalog_pages;
mod page;
#[cfg(test)]
mod questions;
mod settings_page;
mod sqlstates;
mod sqlstates_page;

use anyhow::Result;

use testkit::command;

/// Runs the examples in the pages and writes their output into the pages.
pub fn bless(names: &[String]) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--package", "helios-tests", "--test", "documents", "--"]);
    command::show(cargo.args(names).env("UPDATE_EXPECT", "1"))
}
