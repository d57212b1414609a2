//! Everything that touches the server, in safe types that cost nothing: the only unsafe code.

mod call;
mod clock;
mod command;
mod expiry;
mod key;
mod load;
mod settings;
mod stream;

pub use call::{Argument, Call};
pub use command::{Access, Command, Doc, Handler, Info, Keys};
pub use key::Key;
pub use load::Module;
pub use settings::Setting;

/// Calls a module API function that [`load`] made sure this server has.
macro_rules! api {
    ($function:ident($($argument:expr),* $(,)?)) => {
        match redis_module::raw::$function {
            Some(function) => function($($argument),*),
            // SAFETY: `load::missing` lists every function named in an `api!`, and the library
            // does not load where one of them is missing.
            None => std::hint::unreachable_unchecked(),
        }
    };
}
use api;
