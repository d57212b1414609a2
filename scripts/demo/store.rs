//! The store of the limits: Redis, or this process.

mod memory;
mod remote;
mod traits;

pub use memory::Memory;
pub use remote::Remote;
pub use traits::{Answer, Owed, Store, StoreError};
