//! Resources that may have to be downloaded: Debian packages and PostgreSQL's sources.

pub mod apt;
pub mod source;

/// A resource that may be unavailable on this machine.
pub enum Obtained<T> {
    /// The resource.
    Yes(T),
    /// The reason why it is unavailable.
    No(String),
}

impl<T> Obtained<T> {
    /// Converts the resource if available.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Obtained<U> {
        match self {
            Self::Yes(thing) => Obtained::Yes(change(thing)),
            Self::No(reason) => Obtained::No(reason),
        }
    }
}
