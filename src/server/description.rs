//! The description of a command: name, keys and arguments.

use std::ffi::CStr;

use redis_module::raw;

/// A command's description.
pub struct Description {
    /// The name as clients write it.
    pub name: &'static CStr,
    /// The version that introduced the command.
    pub since: &'static CStr,
    /// How the command uses its keys.
    pub access: Access,
    /// The position of its keys.
    pub keys: Keys,
    /// A summary in one sentence.
    pub summary: &'static CStr,
    /// The time complexity.
    pub complexity: &'static CStr,
    /// The arguments in order.
    pub arguments: &'static [Doc],
    /// Tips for proxies and cluster clients, in the server's notation.
    pub tips: Option<&'static CStr>,
}

/// How a command uses its keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It reads them.
    Read,
    /// It reads them, and its time grows with the length of its reply.
    List,
    /// It reads and updates them.
    Write,
    /// It reads and updates them, and may block its client.
    Wait,
    /// It has no keys and is for administrators.
    Admin,
}

/// The position of a command's keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// It has no keys.
    None,
    /// The first argument is the key.
    First,
    /// The first argument is the number of keys; from the second on, every `step`-th is a key.
    Counted {
        /// The distance from one key to the next.
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

    /// Describes a key.
    pub const fn key(name: &'static CStr) -> Self {
        Self::new(
            name,
            raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
        )
    }

    /// Describes a string.
    pub const fn string(name: &'static CStr) -> Self {
        Self::new(
            name,
            raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
        )
    }

    /// Describes an integer.
    pub const fn integer(name: &'static CStr) -> Self {
        Self::new(
            name,
            raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        )
    }

    /// Describes a keyword without a value.
    pub const fn token(name: &'static CStr, token: &'static CStr) -> Self {
        Self::new(
            name,
            raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
        )
        .after(token)
    }

    /// Describes a choice of one of `parts`.
    pub const fn one_of(name: &'static CStr, parts: &'static [Doc]) -> Self {
        Self {
            parts,
            ..Self::new(
                name,
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
            )
        }
    }

    /// Describes arguments that belong together.
    pub const fn block(name: &'static CStr, parts: &'static [Doc]) -> Self {
        Self {
            parts,
            ..Self::new(
                name,
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
            )
        }
    }

    /// Puts the keyword `token` before the argument.
    pub const fn after(self, token: &'static CStr) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }

    /// Makes the argument optional.
    pub const fn optional(self) -> Self {
        Self {
            flags: self.flags | raw::REDISMODULE_CMD_ARG_OPTIONAL,
            ..self
        }
    }

    /// Lets the argument be repeated.
    pub const fn multiple(self) -> Self {
        Self {
            flags: self.flags | raw::REDISMODULE_CMD_ARG_MULTIPLE,
            ..self
        }
    }
}
