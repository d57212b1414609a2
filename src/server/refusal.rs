//! The reasons for which a key cannot be read or written.

/// The reason for which a key cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not hold a string (or, for a lease set, a sorted set).
    WrongType,
    /// It holds a string of a length that is not accepted.
    OtherLength,
    /// The server does not return its content.
    ReadFailed,
    /// It would be new, and the server's memory is used up.
    OutOfMemory,
    /// The server refused the write.
    WriteFailed,
}
