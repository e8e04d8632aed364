//! What could be read, or why not.

use crate::failure::Failure;

/// What could be read, or why it was out of reach. What refuses is no such thing: it is a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<T> {
    /// As it is now.
    Now(T),
    /// Nobody answered; it may be read at the next check.
    OutOfReach(String),
}

impl<T> Seen<T> {
    /// Separates what was out of reach from what failed.
    ///
    /// # Errors
    /// The failure, unless it is `Unreachable`.
    pub fn of(read: Result<T, Failure>) -> Result<Self, Failure> {
        match read {
            Ok(now) => Ok(Self::Now(now)),
            Err(Failure::Unreachable(why)) => Ok(Self::OutOfReach(why)),
            Err(failure) => Err(failure),
        }
    }
}
