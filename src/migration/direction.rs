//! The direction of a switch.

/// Direction of a switch, and of the changes that flow before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the old copy to the new one.
    Forward,
    /// From the new copy back to the old one.
    Back,
}
