//! The units of the calendar as calls name them: the one table from which the grammar, its errors
//! and the server's documentation of the commands are made.

use std::ffi::CStr;
use std::fmt;

use crate::grammar::parameter::Parameter;
use crate::kinds::calendar::Unit;

/// May follow a calendar unit.
pub const OFFSET: &str = "OFFSET";
/// May follow a unit that has an anchor.
pub const ANCHOR: &str = "ANCHOR";

/// Every unit.
pub const UNITS: [CalendarUnit; 5] = [
    CalendarUnit::new(c"HOUR", c"hour", Unit::Hour),
    CalendarUnit::new(c"DAY", c"day", Unit::Day),
    CalendarUnit::new(c"WEEK", c"week", Unit::Week(1)).anchored(&Anchor {
        parameter: Parameter::new("ANCHOR of a WEEK", 1..=7).with_unit(", Monday to Sunday"),
        unit: Unit::Week,
    }),
    CalendarUnit::new(c"MONTH", c"month", Unit::Month(1)).anchored(&Anchor {
        parameter: Parameter::new("ANCHOR of a MONTH", 1..=31),
        unit: Unit::Month,
    }),
    CalendarUnit::new(c"YEAR", c"year", Unit::Year),
];

/// A unit of the calendar as calls name it.
#[derive(Clone, Copy, Debug)]
pub struct CalendarUnit {
    /// Its name, in any case. The server asks for such strings.
    pub name: &'static CStr,
    /// The name in the documentation of the commands.
    pub doc: &'static CStr,
    /// The unit, with the anchor that it has where a call names none.
    pub unit: Unit,
    /// Its anchor, if it has one.
    pub anchor: Option<&'static Anchor>,
}

/// The day that a unit begins on.
#[derive(Debug)]
pub struct Anchor {
    /// Its name in errors, and the accepted values.
    pub parameter: Parameter,
    /// The unit from that day on.
    pub unit: fn(u8) -> Unit,
}

impl CalendarUnit {
    const fn new(name: &'static CStr, doc: &'static CStr, unit: Unit) -> Self {
        let anchor = None;
        Self {
            name,
            doc,
            unit,
            anchor,
        }
    }

    const fn anchored(self, anchor: &'static Anchor) -> Self {
        Self {
            anchor: Some(anchor),
            ..self
        }
    }

    /// Returns the unit with that name, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        let mut units = UNITS.into_iter();
        units.find(|unit| name.eq_ignore_ascii_case(unit.name.to_bytes()))
    }

    /// Its name as text.
    pub fn text(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }
}

/// The names of the units that have something in common: `HOUR, DAY or WEEK`.
pub struct UnitNames {
    /// Selects the units.
    pub of: fn(&CalendarUnit) -> bool,
    /// The separator before the last name.
    pub last: &'static str,
}

impl fmt::Display for UnitNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = UNITS.iter().filter(|unit| (self.of)(unit)).peekable();
        let mut before = "";
        while let Some(unit) = names.next() {
            write!(f, "{before}{}", unit.text())?;
            let is_last = names.clone().nth(1).is_none();
            before = if is_last { self.last } else { ", " };
        }
        Ok(())
    }
}
