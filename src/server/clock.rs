//! The server's clock.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

/// The server's own `clock_gettime`, or null before the load.
static SERVERS: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Finds the server's `clock_gettime`.
///
/// It is the system's, unless a preloaded library replaces it. Some servers load modules in a way
/// that bypasses preloaded libraries (Valkey, with RTLD_DEEPBIND): expiry and refill would then
/// follow two different clocks.
pub(super) fn find() {
    // SAFETY: a NULL name asks for the running program, which is never unloaded.
    let found = unsafe {
        let program = libc::dlopen(ptr::null(), libc::RTLD_LAZY);
        if program.is_null() {
            program
        } else {
            libc::dlsym(program, c"clock_gettime".as_ptr())
        }
    };
    SERVERS.store(found, Ordering::Relaxed);
}

/// Returns the milliseconds of a clock that never steps back.
pub(super) fn monotonic_ms() -> u64 {
    read(libc::CLOCK_MONOTONIC) / 1_000_000
}

/// Returns the nanoseconds since 1970. It calls the system directly, because the standard library's
/// way to the same number costs four times as much.
#[inline(always)]
pub(super) fn now() -> u64 {
    read(libc::CLOCK_REALTIME)
}

#[inline(always)]
fn read(clock: libc::clockid_t) -> u64 {
    let found = SERVERS.load(Ordering::Relaxed);
    let clock_gettime = if found.is_null() {
        libc::clock_gettime as ClockGettime
    } else {
        // SAFETY: `find` stored the address of a function of that name and so of that type.
        unsafe { std::mem::transmute::<*mut c_void, ClockGettime>(found) }
    };
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec.
    unsafe { clock_gettime(clock, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
