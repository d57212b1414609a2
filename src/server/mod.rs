//! Safe, zero-cost types around the server's module API: the only unsafe code. It knows nothing of
//! limits and could serve another module.

mod api;
mod argument;
mod call;
mod clock;
mod command;
mod description;
mod docs;
mod eviction_stats;
mod expiry;
mod hash;
mod info;
mod key;
mod load;
mod log;
mod member;
mod memory;
mod peek;
mod refusal;
mod replication;
mod replication_needed;
mod settings;
mod sorted_set;
mod text;

pub use argument::{Argument, KeyName};
pub use call::Call;
pub use command::{Command, Handler};
pub use description::{Access, Description, Doc, Keys};
pub use hash::Hash;
pub use info::Section;
pub use key::Key;
pub(crate) use load::entry_points;
pub use load::{Feature, Group, Module};
pub use member::Name;
pub use peek::{Type, MAX_LEN, PEEK_COMMANDS};
pub use refusal::Refusal;
pub use replication::{HASH_AND_SET_COMMANDS, SET_COMMANDS};
pub use settings::Setting;
pub use sorted_set::read::Scores;
pub use sorted_set::write::{Raised, SortedSet};
pub(crate) use text::c_str;
