//! One attempt to connect: an address and its deadline.

use super::session::WaitPolicy;
use super::target::Target;
use socket2::SockAddr;
use std::rc::Rc;
use std::time::Instant;

/// One address to be tried.
pub(super) struct Attempt<'a> {
    pub target: &'a Rc<Target>,
    pub user: &'a str,
    pub host: &'a str,
    pub port: u16,
    pub address: SockAddr,
    pub deadline: Instant,
}

impl Attempt<'_> {
    pub fn policy(&self) -> WaitPolicy {
        WaitPolicy::InterruptibleUntil(self.deadline)
    }
}
