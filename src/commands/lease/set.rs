//! An open lease set, to be changed.
//!
//! A call reads ([`LeaseSet::occupancy`]), decides, and writes ([`LeaseSet::grant`],
//! [`LeaseSet::renew`]). In between, a call on several keys must close the key.

use crate::commands::error::Error;
use redis_rl_limits::bounds::{self, saturating_i64, SLACK_PARTS};
use redis_rl_limits::kinds::lease::{renewed, End, Limit};

use super::occupancy::{check, count, millis, refused, reset_ms, wait_ms, Occupancy, MARKER};
use crate::server::{Argument, Call, Names, Raised, Refusal, SortedSet};
use crate::stats::LEASES;

/// Maximum number of expired leases removed per call. Bounds the call's latency; greater than one
/// so that a backlog shrinks.
const TRIMMED_A_CALL: usize = 16;

/// An open key that holds leases or nothing.
pub struct LeaseSet<'k> {
    set: SortedSet<'k>,
    now_ms: i64,
}

impl<'k> LeaseSet<'k> {
    /// Opens a key.
    ///
    /// # Errors
    /// It does not hold leases.
    #[inline(always)]
    pub fn open<'a: 'k>(call: &'k mut Call<'_>, name: &'a Argument<'a>) -> Result<Self, Error<'a>> {
        let now_ms = millis(call);
        let set = call
            .open_set(name)
            .map_err(|refusal| refused(refusal, name))?;
        check(&set, name)?;
        Ok(Self { set, now_ms })
    }

    /// Returns the occupancy.
    #[inline(always)]
    pub fn occupancy(&mut self) -> Occupancy {
        count(&mut self.set, self.now_ms)
    }

    /// Returns the occupancy after the key was opened again. It is `held`, as read before, unless
    /// another module changed the set when it received the expiry event of another key of the call.
    #[inline(always)]
    pub fn occupancy_again(&mut self, held: Occupancy) -> Occupancy {
        match held.live.saturating_add(held.dead) == self.set.len() {
            true => held,
            false => self.occupancy(),
        }
    }

    /// Returns the database of the key.
    pub fn db(&self) -> i32 {
        self.set.db()
    }

    /// Returns the name of the key.
    pub fn key(&self) -> &[u8] {
        self.set.key()
    }

    /// Returns the end of a token's lease, if it is live.
    #[inline(always)]
    pub fn own(&self, token: &Argument<'_>) -> Option<End> {
        self.end(token).filter(|end| end.is_live(self.now_ms))
    }

    /// Acquires a slot for a token, or renews the one it has. If there is room for one more and no
    /// lease has ended, the two cases need not be distinguished before the write.
    ///
    /// # Errors
    /// The server refuses the write.
    #[inline(always)]
    pub fn grant_or_renew(
        &mut self,
        token: &Argument<'k>,
        ttl_ms: u64,
    ) -> Result<(Raised, End), Refusal> {
        let end = End::after(self.now_ms, ttl_ms);
        let raised = self.set.raise(token, end.millis().unwrap_or(i64::MAX))?;
        Ok((raised, self.expire_with_the_last(end)))
    }

    /// Returns the end of a token's lease, live or not.
    #[inline(always)]
    fn end(&self, token: &Argument<'_>) -> Option<End> {
        self.set.score(token).map(End)
    }

    /// Returns an empty list of strings.
    pub fn names(&self) -> Names {
        self.set.names()
    }

    /// Adds a slot for a token that has none, after [`occupancy`](Self::occupancy) found room.
    /// Returns the end of the last lease.
    ///
    /// # Errors
    /// The server refuses the write.
    #[inline(always)]
    pub fn grant(
        &mut self,
        held: Occupancy,
        token: &Argument<'k>,
        ttl_ms: u64,
    ) -> Result<End, Refusal> {
        if held.dead == 0 {
            self.set.add(&self.set.name(&MARKER), 0)?;
        }
        let end = End::after(self.now_ms, ttl_ms);
        self.set.add(token, end.millis().unwrap_or(i64::MAX))?;
        self.trim(held);
        Ok(self.expire_with_the_last(end))
    }

    /// Extends the lease of a token, which is live until `own`. Returns the end of the last lease.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn renew(
        &mut self,
        held: Occupancy,
        own: End,
        token: &Argument<'k>,
        ttl_ms: u64,
    ) -> Result<End, Refusal> {
        let end = self.extend(own, token, ttl_ms)?.unwrap_or(own);
        self.trim(held);
        Ok(self.expire_with_the_last(end))
    }

    /// Extends the live leases of these tokens. Returns the number renewed.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn renew_all(&mut self, tokens: &[Argument<'k>], ttl_ms: u64) -> Result<u64, Refusal> {
        let mut renewed: u64 = 0;
        let mut latest = None;
        for (n, token) in tokens.iter().enumerate() {
            let Some(own) = self.end(token) else {
                continue;
            };
            let mut before = tokens.iter().take(n);
            if before.any(|other| other.bytes() == token.bytes()) {
                continue;
            }
            if let Some(end) = self.extend(own, token, ttl_ms)? {
                renewed = renewed.saturating_add(1);
                latest = Some(latest.map_or(end, |latest| end.max(latest)));
            }
        }
        if let Some(latest) = latest.filter(|_| self.set.is_changed()) {
            self.expire_with_the_last(latest);
        }
        Ok(renewed)
    }

    /// Extends a lease and returns its end, which may stay the same; `None` if it has ended.
    fn extend(
        &mut self,
        own: End,
        token: &Argument<'k>,
        ttl_ms: u64,
    ) -> Result<Option<End>, Refusal> {
        let renewed = renewed(own, self.now_ms, ttl_ms);
        let later = renewed.filter(|&end| end != own);
        if let Some(millis) = later.and_then(End::millis) {
            self.set.add(token, millis)?;
        }
        Ok(renewed)
    }

    /// Frees the slots of these tokens' live leases. Returns the number freed and the end of the last
    /// of them. The caller must then grant a slot, or [`shrink`](Self::shrink) the key.
    pub fn free(&mut self, tokens: &[Argument<'k>]) -> (u64, Option<End>) {
        let mut released: u64 = 0;
        let mut latest: Option<End> = None;
        for token in tokens {
            if let Some(end) = self.end(token).filter(|end| end.is_live(self.now_ms)) {
                self.set.remove(token);
                released = released.saturating_add(1);
                latest = Some(latest.map_or(end, |latest| latest.max(end)));
            }
        }
        (released, latest)
    }

    /// Removes expired leases, if there are any.
    #[inline(always)]
    fn trim(&mut self, held: Occupancy) {
        if held.dead > 1 {
            let most = TRIMMED_A_CALL;
            let trimmed = self.set.trim(self.now_ms as f64, bounds::MARKER, most);
            LEASES.trimmed.add(trimmed as u64);
        }
    }

    /// Checks that there is memory for a new lease, even in an existing key.
    ///
    /// # Errors
    /// The server's memory is used up.
    #[inline(always)]
    pub fn check_memory(&self) -> Result<(), Refusal> {
        self.set.check_memory()
    }

    /// Returns the time of the call, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Adjusts the key's expiry to the last live lease after slots were freed; the last freed one
    /// would have ended at `freed`. Removes the key if no lease is live.
    pub fn shrink(&mut self, freed: End) {
        match self.set.last().map(End) {
            // The key already expires at that time, or a little later.
            Some(last) if last.is_live(self.now_ms) && last >= freed => {}
            Some(last) if last.is_live(self.now_ms) => self.live_until(last),
            _ => self.set.clear(),
        }
    }

    /// Adjusts the key's expiry to the end of the last lease, given that one ends at `end`. Returns
    /// that end.
    #[inline(always)]
    fn expire_with_the_last(&mut self, end: End) -> End {
        if self.set.has_above(end.0) {
            return self.fit_expiry().unwrap_or(end);
        }
        self.live_until(end);
        end
    }

    /// Adjusts the key's expiry to the end of the last lease, and returns that end.
    pub fn fit_expiry(&mut self) -> Option<End> {
        let last = self.set.last().map(End)?;
        self.live_until(last);
        Some(last)
    }

    /// Moves the key's expiry unless it is between the end of the last lease and a sixteenth of the
    /// time until then later. It moves to the middle of that range, which calls with later ends, and
    /// the time that passes, leave only slowly.
    #[inline(always)]
    fn live_until(&mut self, last: End) {
        let expires_at = self.set.expires_at();
        let Some(end) = last.millis() else {
            if expires_at.is_some() {
                self.set.expire_at(None);
            }
            return;
        };
        let left = u64::try_from(end.saturating_sub(self.now_ms)).unwrap_or(0);
        let slack = saturating_i64(left / SLACK_PARTS);
        let is_early = expires_at.is_none_or(|at| at < end);
        let is_late = expires_at.is_some_and(|at| at > end.saturating_add(slack));
        if is_early || is_late && self.set.is_changed() {
            self.set.expire_at(Some(end.saturating_add(slack / 2)));
        }
    }

    /// Returns the milliseconds until there is room for one more lease under this limit, or -1
    /// if there never is.
    pub fn wait_ms(&mut self, held: Occupancy, limit: Limit) -> i64 {
        wait_ms(&mut self.set, held, limit)
    }

    /// Returns the milliseconds until the last lease has ended.
    pub fn reset_ms(&mut self) -> i64 {
        reset_ms(&mut self.set, self.now_ms)
    }
}
