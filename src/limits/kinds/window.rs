//! The fixed window: one that opens, holds a limit, and ends: (state, now, limit, what is asked)
//! → decision.
//!
//! A stored window stays in force until its end, whatever a call names: so nothing is gained by
//! naming another, and every wait that was told holds. Only where none is in force is it worked
//! out which one holds the instant.

use crate::bounds::{floor_millis, saturating_i64, MAX_USED, MAX_YEARS_MS};
use crate::grammar::error::Error;
use crate::kinds::calendar::Calendar;
use crate::kinds::decision::{self, Ask, Change, Decision, Reply, State};
use crate::kinds::tagged::{read_words, write_words, WINDOW_TAG};
use crate::kinds::usage::{Usage, WindowStanding};

/// How much may be used in a window, and which one opens where none is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    limit: u64,
    opens: Opens,
}

/// The window that opens where none is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// From now on, for so many milliseconds.
    For(u64),
    /// The one of the calendar that holds now.
    Calendar(Calendar),
    /// From now on, until that time in milliseconds since 1970.
    Until(i64),
}

impl Limit {
    /// At most `limit` in a window.
    pub(crate) fn new(limit: u64, opens: Opens) -> Self {
        Self { limit, opens }
    }

    /// The unused window of now.
    fn open(&self, now: i64) -> Window {
        let (start, end) = match self.opens {
            Opens::For(length) => (now, now.saturating_add_unsigned(length)),
            Opens::Calendar(calendar) => calendar.window(now),
            Opens::Until(end) => (now, end),
        };
        let used = 0;
        Window { start, end, used }
    }

    /// Refuses an end that has passed, or is over a hundred years ahead: most likely it is in
    /// seconds, or in microseconds.
    fn check_end(&self, now: i64) -> Result<(), Error<'static>> {
        match self.opens {
            Opens::Until(end) if end <= now || end.abs_diff(now) > MAX_YEARS_MS => {
                Err(Error::Until { end, now })
            }
            _ => Ok(()),
        }
    }
}

/// What is stored of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it began, in milliseconds since 1970.
    start: i64,
    /// When the next one may begin; later than `start`.
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

    /// The tag and the three words, little-endian.
    #[inline(always)]
    fn to_bytes(self) -> [u8; 25] {
        let (start, end) = (self.start.cast_unsigned(), self.end.cast_unsigned());
        write_words(WINDOW_TAG, [start, end, self.used])
    }
}

impl Window {
    /// One that begins later than now was there before the clock stepped back. It stays if it
    /// may have been in force then: nobody waits longer than two windows, and nobody gets a
    /// second limit.
    fn in_force(&self, now: i64) -> bool {
        self.start <= now || self.start.abs_diff(now) <= self.end.abs_diff(self.start)
    }
}

/// How a window stands at an instant.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    limit: Limit,
    now: i64,
    /// The one in force, else the one that opens.
    window: Window,
    /// It has what was used of one that lies in the future, where the clock stepped back by more
    /// than a window. A denied call has to write that, lest the caller wait for an end that moves.
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
    fn check(&self) -> Result<(), Error<'static>> {
        self.limit.check_end(self.now)
    }

    #[inline(always)]
    fn take(&self, ask: &Ask) -> Result<Decision<Window>, Error<'static>> {
        self.check()?;
        Ok(match self.usage().charge(ask)? {
            0 => self.unchanged(0, self.wait(ask)),
            taken => self.changed(taken, self.window.used.saturating_add(taken)),
        })
    }

    fn look(&self, ask: &Ask) -> Result<Decision<Window>, Error<'static>> {
        self.check()?;
        Ok(match self.usage().charge(ask)? {
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
    /// What was taken before the window in force is not of it and does not come back. Without
    /// `taken_at` it is, also where the clock stepped back to before the window.
    fn give(&self, tokens: u64, taken_at: Option<u64>) -> Decision<Window> {
        let of_it = match taken_at {
            Some(at) => saturating_i64(at).min(self.now) >= self.window.start,
            None => true,
        };
        if !of_it || decision::Standing::check(self).is_err() {
            return self.unchanged(0, 0);
        }
        match tokens.min(self.window.used) {
            0 => self.unchanged(0, 0),
            given => self.changed(given, self.window.used.saturating_sub(given)),
        }
    }
}

impl Standing {
    fn usage(&self) -> Usage {
        Usage {
            limit: self.limit.limit,
            used: self.window.used,
        }
    }

    /// Nothing comes free before the window ends, and then everything.
    fn wait(&self, ask: &Ask) -> i64 {
        self.usage().wait(ask, |_| self.left(&self.window))
    }

    /// Milliseconds until a window ends; 0 if nothing is used.
    fn left(&self, window: &Window) -> i64 {
        match window.used {
            0 => 0,
            _ => window.end.saturating_sub(self.now),
        }
    }

    /// So many are taken or given, which makes `used` of them.
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
