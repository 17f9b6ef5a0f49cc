//! Pages of `docs/`: those made from the program, links of all, and the book.

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

/// Runs the examples of the pages, and writes what they print into the pages.
pub fn bless(names: &[String]) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--package", "helios-tests", "--test", "documents", "--"]);
    command::show(cargo.args(names).env("UPDATE_EXPECT", "1"))
}
