//! Implementation of the project's commands: setup, building and installing the extension, demo, tests, benchmarks. The
//! servers and clusters they run are provided by `testkit`.

pub mod bench;
pub mod demo;
pub mod dependencies;
pub mod docs;
pub mod extension;
pub mod headers;
pub mod layering;
pub mod registry;
pub mod scripts;
pub mod setup;
pub mod testing;
