//! Buckets by a script, for servers that load no modules. They have keys of their own.

use std::sync::LazyLock;

use redis::{cmd, Cmd, RedisError};
use sha1::{Digest, Sha1};

use crate::commands::ms;
use crate::failure::Ask;

const TEXT: &str = include_str!("bucket.lua");
static SHA: LazyLock<String> = LazyLock::new(|| format!("{:x}", Sha1::digest(TEXT)));

/// The replacement of the module on a server that lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// `take`, `peek` and `give` are a script in Lua.
    Lua,
}

/// A call of the server.
#[derive(Clone)]
pub(crate) enum Call {
    Bucket(BucketCall, Ask),
    Other(Cmd),
}

/// A call on one bucket, which a script can replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BucketCall {
    Take,
    Peek,
    Give,
}

impl Call {
    /// Returns the request if its denial is remembered: that of a take.
    pub fn take(&self) -> Option<&Ask> {
        match self {
            Self::Bucket(BucketCall::Take, ask) => Some(ask),
            _ => None,
        }
    }
}

impl BucketCall {
    fn name(self) -> &'static str {
        match self {
            Self::Take => "RL.TAKE",
            Self::Peek => "RL.PEEK",
            Self::Give => "RL.GIVE",
        }
    }

    /// Returns the module's command.
    pub fn command(self, ask: &Ask) -> Cmd {
        let mut command = cmd(self.name());
        command
            .arg(&ask.key)
            .arg(ask.rate.to_string())
            .arg(ask.burst);
        ask.options.add_to(&mut command);
        command
    }

    /// Returns the call of a script that the server has seen before.
    pub fn known_script(self, ask: &Ask) -> Cmd {
        self.script("EVALSHA", &SHA, ask)
    }

    /// Returns the call that also carries the script.
    pub fn whole_script(self, ask: &Ask) -> Cmd {
        self.script("EVAL", TEXT, ask)
    }

    fn script(self, command: &str, script: &str, ask: &Ask) -> Cmd {
        let options = &ask.options;
        let mode = match (options.at_most, options.max_wait, options.force) {
            (_, _, true) => "FORCE",
            (_, Some(_), _) => "MAXWAIT",
            (true, ..) => "ATMOST",
            _ => "",
        };
        let (tokens, period_ms) = ask.rate.as_numbers();
        let mut command = cmd(command);
        command.arg(script).arg(1).arg(format!("{}:lua", ask.key));
        command.arg(&self.name()["RL.".len()..]);
        command.arg(tokens.to_string()).arg(period_ms.to_string());
        command.arg(ask.burst).arg(options.cost).arg(options.keep);
        command.arg(mode).arg(options.max_wait.map_or(0, ms));
        command
    }
}

/// Returns whether the server lacks the command, as servers and proxies word it.
pub(crate) fn is_missing(error: &RedisError) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    [
        "unknown command",
        "not available",
        "not supported",
        "unsupported command",
    ]
    .iter()
    .any(|words| text.contains(words))
}
