//! What the project's commands are made of: finding and building PostgreSQL, building and
//! installing the extension, servers and clusters of servers. The command line (`main.rs`) and the
//! cluster tests (`helios-tests`) use the same code.

pub mod bench;
pub mod clients;
pub mod cluster;
pub mod command;
pub mod demo;
pub mod docs;
pub mod extension;
pub mod layering;
pub mod ledger;
pub mod migrations;
pub mod paths;
pub mod ports;
pub mod postgres;
pub mod processes;
pub mod progress;
pub mod registry;
pub mod scratch;
pub mod scripts;
pub mod server;
pub mod setup;
pub mod testing;
