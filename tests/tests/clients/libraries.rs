//! Where the client programs and their libraries are.

use std::path::PathBuf;

use helios_tests::skip;
use testkit::clients;
use testkit::obtain::Obtained;

/// Where the client programs are.
pub fn programs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// The interpreter that has the Python libraries; `None` when they cannot be had here, which has
/// been said then.
pub fn python() -> Option<PathBuf> {
    or_skip(clients::python().unwrap())
}

/// The directory with the Node libraries, as [`python`].
pub fn node_modules() -> Option<PathBuf> {
    or_skip(clients::node_modules().unwrap())
}

fn or_skip(obtained: Obtained<PathBuf>) -> Option<PathBuf> {
    match obtained {
        Obtained::Yes(path) => Some(path),
        Obtained::No(reason) => {
            skip(&reason);
            None
        }
    }
}
