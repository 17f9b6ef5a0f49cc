use crate::pg::worker::MigrationWork;
pub fn run(_work: MigrationWork) {}
