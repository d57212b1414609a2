//! What a command says of itself: name, keys, arguments.

use std::ffi::CStr;

use redis_module::raw;

/// A command's description.
pub struct Description {
    /// As clients write it.
    pub name: &'static CStr,
    /// The version that brought it.
    pub since: &'static CStr,
    /// What it does to its keys.
    pub access: Access,
    /// Where its keys are.
    pub keys: Keys,
    /// One sentence.
    pub summary: &'static CStr,
    /// How its time grows.
    pub complexity: &'static CStr,
    /// In order.
    pub arguments: &'static [Doc],
    /// What proxies and cluster clients should know, in the server's words for it.
    pub tips: Option<&'static CStr>,
}

/// What a command does to its keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads.
    Read,
    /// Reads, and takes longer the more it tells.
    List,
    /// Reads and updates.
    Write,
    /// Has none, and is for administrators.
    Admin,
}

/// Where a command's keys are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Nowhere.
    None,
    /// The first argument.
    First,
    /// The first argument says how many; from the second on, one every `step`.
    Counted {
        /// From one key to the next.
        step: usize,
    },
}

/// An argument's description.
#[derive(Clone, Copy)]
pub struct Doc {
    pub(super) name: &'static CStr,
    pub(super) token: Option<&'static CStr>,
    pub(super) kind: raw::RedisModuleCommandArgType,
    pub(super) flags: u32,
    pub(super) parts: &'static [Doc],
}

impl Doc {
    const fn new(name: &'static CStr, kind: raw::RedisModuleCommandArgType) -> Self {
        Self {
            name,
            token: None,
            kind,
            flags: raw::REDISMODULE_CMD_ARG_NONE,
            parts: &[],
        }
    }

    /// A key.
    pub const fn key(name: &'static CStr) -> Self {
        Self::new(
            name,
            raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
        )
    }

    /// Text.
    pub const fn string(name: &'static CStr) -> Self {
        Self::new(
            name,
            raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
        )
    }

    /// A number.
    pub const fn integer(name: &'static CStr) -> Self {
        Self::new(
            name,
            raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        )
    }

    /// A word that stands for itself.
    pub const fn token(name: &'static CStr, token: &'static CStr) -> Self {
        Self::new(
            name,
            raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
        )
        .after(token)
    }

    /// One of several.
    pub const fn one_of(name: &'static CStr, parts: &'static [Doc]) -> Self {
        Self {
            parts,
            ..Self::new(
                name,
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
            )
        }
    }

    /// Several that go together.
    pub const fn block(name: &'static CStr, parts: &'static [Doc]) -> Self {
        Self {
            parts,
            ..Self::new(
                name,
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
            )
        }
    }

    /// It follows this word.
    pub const fn after(self, token: &'static CStr) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }

    /// It may be left out.
    pub const fn optional(self) -> Self {
        Self {
            flags: self.flags | raw::REDISMODULE_CMD_ARG_OPTIONAL,
            ..self
        }
    }

    /// It may be repeated.
    pub const fn multiple(self) -> Self {
        Self {
            flags: self.flags | raw::REDISMODULE_CMD_ARG_MULTIPLE,
            ..self
        }
    }
}
