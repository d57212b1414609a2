//! Texts that end in NUL, as the server wants them.

use std::ffi::CStr;
use std::fmt::{Display, Write};

/// Converts a text that ends in NUL to a C string; returns an empty string if it does not.
pub(crate) const fn c_str(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

/// A text on the stack, at most 511 bytes of it, that ends in NUL.
pub(super) struct Text {
    bytes: [u8; 512],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [0; 512],
            len: 0,
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let last = self.bytes.len().saturating_sub(1);
        let free = self.bytes.get_mut(self.len..last).ok_or(std::fmt::Error)?;
        for (to, from) in free.iter_mut().zip(text.bytes()) {
            *to = from;
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}

/// Returns a static text of the server's form in ours.
pub(super) fn shown(text: &'static CStr) -> &'static str {
    text.to_str().unwrap_or_default()
}

impl Text {
    /// Returns the text of `shown`, cut if it is too long.
    pub(super) fn of(shown: impl Display) -> Self {
        let mut text = Self::default();
        // Being cut is the only error.
        let _ = write!(text, "{shown}");
        text
    }

    /// Returns the text.
    pub(super) fn c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}
