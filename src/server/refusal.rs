//! Why a key cannot be read or written.

/// Why a key cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It holds another type than a string.
    WrongType,
    /// It holds a string of another length than was looked for.
    OtherLength,
    /// It would be new, and the server's memory is used up.
    OutOfMemory,
    /// The server refused to write.
    WriteFailed,
}
