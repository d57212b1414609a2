//! The fixed window: it opens, has a limit, and ends. (state, now, limit, request) → decision.
//!
//! A stored window stays in force until its end, whatever window a call names, so naming another
//! one gains nothing and every reported wait holds. Only if none is in force, the window that
//! contains the instant is computed.

use crate::bounds::{floor_millis, saturating_i64, MAX_USED, MAX_YEARS_MS};
use crate::kinds::calendar::Calendar;
use crate::kinds::decision::{self, Ask, Change, Decision, Reply, State};
use crate::kinds::error::Error;
use crate::kinds::hold::{Holdable, Kind};
use crate::kinds::tagged::{read_words, write_words, WINDOW_TAG};
use crate::kinds::usage::{at_tolerance, Usage, WindowStanding};

/// The limit of a window, and the window that opens if none is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    limit: u64,
    opens: Opens,
}

/// The window that opens if none is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// From now on, for this many milliseconds.
    For(u64),
    /// The calendar window that contains now.
    Calendar(Calendar),
    /// From now on, until this time in milliseconds since 1970.
    Until(i64),
}

impl Limit {
    /// Creates a limit of at most `limit` in a window.
    pub fn new(limit: u64, opens: Opens) -> Self {
        Self { limit, opens }
    }

    /// Returns the unused window that opens now.
    fn open(&self, now: i64) -> Window {
        let (start, end) = match self.opens {
            Opens::For(length) => (now, now.saturating_add_unsigned(length)),
            Opens::Calendar(calendar) => calendar.window(now),
            Opens::Until(end) => (now, end),
        };
        let used = 0;
        Window { start, end, used }
    }

    /// Rejects an end that has passed, or that is over a hundred years ahead and therefore most
    /// likely in seconds or microseconds.
    fn check_end(&self, now: i64) -> Result<(), Error> {
        match self.opens {
            Opens::Until(end) if end <= now || end.abs_diff(now) > MAX_YEARS_MS => {
                Err(Error::Until { end, now })
            }
            _ => Ok(()),
        }
    }
}

/// The stored state of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its start, in milliseconds since 1970.
    start: i64,
    /// Its end, at which the next one may begin; later than `start`.
    end: i64,
    /// At most [`MAX_USED`].
    used: u64,
}

impl State for Window {
    const NAME: &'static str = "a fixed window";
    const SIZE: usize = 25;
    type Bytes = [u8; 25];

    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [start, end, used] = read_words(WINDOW_TAG, bytes)?;
        let (start, end) = (start.cast_signed(), end.cast_signed());
        (start < end && used <= MAX_USED).then_some(Self { start, end, used })
    }

    /// Returns the tag and the three words, little-endian.
    #[inline(always)]
    fn to_bytes(self) -> [u8; 25] {
        let (start, end) = (self.start.cast_unsigned(), self.end.cast_unsigned());
        write_words(WINDOW_TAG, [start, end, self.used])
    }
}

impl Window {
    /// Returns whether it has ended at `now`, in nanoseconds since 1970.
    pub(crate) fn has_ended(self, now: u64) -> bool {
        self.end <= saturating_i64(floor_millis(now))
    }

    /// Returns the time at which it began, in milliseconds since 1970.
    pub fn start_ms(&self) -> i64 {
        self.start
    }

    /// Returns the time at which it ends, in milliseconds since 1970.
    pub fn end_ms(&self) -> i64 {
        self.end
    }

    /// Returns the amount charged to it.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Returns whether the window is in force at `now`. One that begins later was stored before the
    /// clock stepped back. It stays in force if it may have been then: nobody waits longer than two
    /// windows, and nobody gets a second quota.
    fn in_force(&self, now: i64) -> bool {
        self.start <= now || self.start.abs_diff(now) <= self.end.abs_diff(self.start)
    }
}

/// The standing of a window at one time.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    limit: Limit,
    now: i64,
    /// The window in force, otherwise the one that opens.
    window: Window,
    /// The window took over the usage of one in the future: the clock stepped back by more than a
    /// window. A denied call must write that, otherwise the caller would wait for an end that keeps
    /// moving.
    rebased: bool,
}

impl decision::Limit for Limit {
    type State = Window;
    type Standing = Standing;

    #[inline(always)]
    fn stand(self, stored: Option<Window>, now: u64) -> Standing {
        let now = saturating_i64(floor_millis(now));
        let (window, rebased) = match stored.filter(|window| window.end > now) {
            None => (self.open(now), false),
            Some(stored) if stored.in_force(now) || self.check_end(now).is_err() => (stored, false),
            Some(Window { used, .. }) => {
                let opened = self.open(now);
                (Window { used, ..opened }, used > 0)
            }
        };
        Standing {
            limit: self,
            now,
            window,
            rebased,
        }
    }
}

impl decision::Standing for Standing {
    type State = Window;

    #[inline(always)]
    fn check(&self) -> Result<(), Error> {
        self.limit.check_end(self.now)
    }

    #[inline(always)]
    fn take(&self, ask: &Ask) -> Result<Decision<Window>, Error> {
        self.check()?;
        Ok(match self.usage().charge(ask)? {
            0 if self.usage().grants_nothing(ask) => self.untouched(),
            0 => self.unchanged(0, self.wait(ask)),
            taken => self.changed(taken, self.window.used.saturating_add(taken)),
        })
    }

    fn state(&self) -> Reply {
        self.reply(0, &self.window, 0)
    }

    fn look(&self, ask: &Ask) -> Result<Decision<Window>, Error> {
        self.check()?;
        Ok(match self.usage().charge(ask)? {
            0 if self.usage().grants_nothing(ask) => self.untouched(),
            0 => self.unchanged(0, self.wait(ask)),
            taken => self.unchanged(taken, 0),
        })
    }

    #[inline(always)]
    fn has(&self, ask: &Ask) -> bool {
        self.check().is_ok() && self.usage().has(ask)
    }
}

impl WindowStanding for Standing {
    /// Refunds only what was taken in the window in force; without `taken_at` everything was.
    fn give(&self, tokens: u64, taken_at: Option<u64>) -> Decision<Window> {
        if tokens == 0 {
            return self.untouched();
        }
        let of_it = taken_at.is_none_or(|at| self.holds(saturating_i64(at)));
        if !of_it || decision::Standing::check(self).is_err() {
            return self.unchanged(0, 0);
        }
        match tokens.min(self.window.used) {
            0 => self.unchanged(0, 0),
            given => self.changed(given, self.window.used.saturating_sub(given)),
        }
    }
}

impl Holdable for Standing {
    const KIND: Kind = Kind::Window;

    fn charged_at(&self, _cost: u64) -> i64 {
        self.now.max(self.window.start)
    }

    /// Refunds only to the window that contains the time of the charge. A time later than now means
    /// now: the clock stepped back, and the window took over the charge.
    fn refund(&self, tokens: u64, charged_at: i64) -> Decision<Window> {
        let Window { start, used, .. } = self.window;
        match tokens.min(used) {
            given if given > 0 && start <= charged_at => {
                self.changed(given, used.saturating_sub(given))
            }
            _ => self.unchanged(0, 0),
        }
    }

    /// Charges even if too little is left. If the call names an end that has passed and no window
    /// is in force, nothing is charged.
    fn force(&self, tokens: u64) -> Decision<Window> {
        let used = self.window.used;
        match tokens.min(MAX_USED.saturating_sub(used)) {
            taken if taken > 0 && self.window.end > self.now => {
                self.changed(taken, used.saturating_add(taken))
            }
            _ => self.unchanged(0, 0),
        }
    }
}

impl Standing {
    /// Returns whether a take at this time may belong to the window in force. A later time than now
    /// counts as now.
    ///
    /// A caller reads its clock before the take, and the server freezes TIME in a transaction, so a
    /// window that opens with a take also holds the time just before it. The edges of the calendar are
    /// exact. If the clock stepped back before the window, a take now belongs to it.
    fn holds(&self, at: i64) -> bool {
        let Window { start, end, .. } = self.window;
        let at = at.min(self.now);
        let tolerance = at_tolerance(end.abs_diff(start));
        let earliest = match self.limit.opens {
            Opens::Calendar(_) if start <= self.now => start,
            _ => start.min(self.now).saturating_sub_unsigned(tolerance),
        };
        at >= earliest
    }

    /// Takes or refunds nothing, and writes nothing.
    fn untouched(&self) -> Decision<Window> {
        Decision {
            reply: decision::Standing::state(self),
            change: Change::Keep,
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            limit: self.limit.limit,
            used: self.window.used,
        }
    }

    /// Returns the wait: everything is freed at the window's end, and nothing before.
    fn wait(&self, ask: &Ask) -> i64 {
        self.usage().wait(ask, |_| self.left(&self.window))
    }

    /// Returns the milliseconds until a window ends; 0 if nothing is used.
    fn left(&self, window: &Window) -> i64 {
        match window.used {
            0 => 0,
            _ => window.end.saturating_sub(self.now),
        }
    }

    /// Stores `used`, after `taken` units were taken or refunded.
    #[inline(always)]
    fn changed(&self, taken: u64, used: u64) -> Decision<Window> {
        let window = Window {
            used,
            ..self.window
        };
        Decision {
            reply: self.reply(taken, &window, 0),
            change: match used {
                0 => Change::Remove,
                _ => Change::Write(window, window.end),
            },
        }
    }

    #[inline(always)]
    fn unchanged(&self, taken: u64, wait_ms: i64) -> Decision<Window> {
        Decision {
            reply: self.reply(taken, &self.window, wait_ms),
            change: if self.rebased {
                Change::Write(self.window, self.window.end)
            } else {
                Change::Keep
            },
        }
    }

    #[inline(always)]
    fn reply(&self, taken: u64, window: &Window, wait_ms: i64) -> Reply {
        let usage = Usage {
            used: window.used,
            ..self.usage()
        };
        Reply::new(
            saturating_i64(taken),
            saturating_i64(usage.limit),
            saturating_i64(usage.remaining()),
            wait_ms,
            self.left(window),
        )
    }
}
