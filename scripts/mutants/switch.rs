//! The switch of the changes: `REDIS_RL_MUTANT` holds the number of the change that is on, and
//! `REDIS_RL_MUTANT_REACHED` names a file with a byte for each change, which is set when the change
//! is reached.

use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU8, Ordering::Relaxed};

static ON: AtomicU32 = AtomicU32::new(u32::MAX);
static REACHED: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());

// The loader calls it before any code of the library runs.
#[used]
#[link_section = ".init_array"]
static INIT: extern "C" fn() = init;

extern "C" fn init() {
    if let Some(on) = std::env::var("REDIS_RL_MUTANT")
        .ok()
        .and_then(|on| on.parse().ok())
    {
        ON.store(on, Relaxed);
    }
    let Some(name) = std::env::var_os("REDIS_RL_MUTANT_REACHED") else {
        return;
    };
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(name)
        .expect("the file");
    let len = file.metadata().expect("the file's length").len() as usize;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: the mapping is new, and stays when the file is closed.
    let bytes = unsafe { libc::mmap(std::ptr::null_mut(), len, access, shared, fd, 0) };
    assert_ne!(bytes, libc::MAP_FAILED);
    REACHED.store(bytes.cast(), Relaxed);
}

/// Returns whether this change is on.
#[inline(always)]
pub fn is(number: u32) -> bool {
    let reached = REACHED.load(Relaxed);
    if !reached.is_null() {
        // SAFETY: the file has a byte for each change.
        unsafe { &*reached.add(number as usize) }.store(1, Relaxed);
    }
    ON.load(Relaxed) == number
}
