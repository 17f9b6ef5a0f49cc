//! What may have to be fetched from elsewhere: Debian packages and PostgreSQL's sources.

pub mod apt;
pub mod source;

/// Something that may be impossible to get on this machine.
pub enum Obtained<T> {
    /// Here it is.
    Yes(T),
    /// It cannot be had; the reason.
    No(String),
}

impl<T> Obtained<T> {
    /// Changes what was obtained.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Obtained<U> {
        match self {
            Self::Yes(thing) => Obtained::Yes(change(thing)),
            Self::No(reason) => Obtained::No(reason),
        }
    }
}
