//! Set-up, demo, tests, benchmarks and local clusters of Helios.
fn main() {}
