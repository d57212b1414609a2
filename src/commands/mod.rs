//! The list of commands.

#![forbid(unsafe_code)]

mod bucket;
mod command;
mod error;
mod hold_error;
mod inspect;
mod lease;
mod several;
mod string_key;
mod top;
mod window;

use crate::server::{Command, Group, HASH_COMMANDS, PEEK_COMMANDS, SET_COMMANDS};
use command::served;

pub use lease::occupancy::MARKER as LEASES_MARKER;
pub use lease::waiting;
pub use several::holds_key::MARKER as HOLDS_MARKER;

/// The commands for every server.
pub const STANDARD: &[Command] = &[
    served::<bucket::take::Take>(),
    served::<bucket::give::Give>(),
    served::<several::mtake::MTake>(),
    served::<window::take::WTake>(),
    served::<window::give::WGive>(),
    served::<top::Top>(),
];

/// The commands that need more commands of the server.
pub const GROUPS: &[Group] = &[
    Group {
        needs: &[PEEK_COMMANDS],
        commands: &[
            served::<bucket::peek::Peek>(),
            served::<window::peek::WPeek>(),
            served::<inspect::Inspect>(),
        ],
        feature: None,
    },
    Group {
        needs: &[SET_COMMANDS],
        commands: &[
            served::<lease::acquire::Acquire>(),
            served::<lease::renew::Renew>(),
            served::<lease::release::Release>(),
            served::<lease::list::List>(),
            served::<several::all::All>(),
        ],
        feature: None,
    },
    Group {
        needs: &[HASH_COMMANDS, SET_COMMANDS],
        commands: &[
            served::<several::settle::Settle>(),
            served::<several::holds::Holds>(),
        ],
        feature: Some(&several::holds_key::AVAILABLE),
    },
];

/// The commands that are registered only if the module is loaded with their name as an argument.
pub const OPTIONAL: &[Command] = &[served::<bucket::throttle::Throttle>()];
