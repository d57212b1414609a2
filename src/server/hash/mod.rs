//! A key that holds a hash, read and written through the module API.

mod changes;

use std::os::raw::{c_int, c_void};
use std::ptr;

use changes::Changes;
use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::call::Call;
use super::eviction_stats::UNSEEN;
use super::expiry;
use super::kept::{Handle, Kept};
use super::member::{Member, Name};
use super::refusal::Refusal;

const NO_FLAGS: c_int = raw::REDISMODULE_HASH_NONE as c_int;

/// The value that removes a field. The crate's header lacks it.
const REMOVED: *mut raw::RedisModuleString = ptr::without_provenance_mut(1);
/// Ends a list of fields.
const END: *mut raw::RedisModuleString = ptr::null_mut();

/// An open key that holds a hash or nothing. Replicates what was changed when it is closed, which
/// is when it is dropped.
///
/// It borrows the call, as a [`Key`](super::Key) does.
pub struct Hash<'k> {
    ctx: *mut raw::RedisModuleCtx,
    name: &'k Argument<'k>,
    /// Null if there is nothing and it is only read.
    key: *mut raw::RedisModuleKey,
    /// `None` if the key is only read.
    kept: Option<&'k Kept<'k>>,
    now: u64,
    changes: Changes,
}

impl<'a> Call<'a> {
    /// Opens a key for reading and writing.
    ///
    /// # Errors
    /// The key holds another type than a hash.
    pub fn open_hash<'k>(&'k mut self, name: &'k Argument<'k>) -> Result<Hash<'k>, Refusal> {
        // SAFETY: ctx and name belong to the call in progress, which a key in use would borrow.
        let key = unsafe { self.kept.open(self.ctx, name) }.key;
        self.hash(name, key, Some(&self.kept))
    }

    /// Opens a key for reading without side effects.
    ///
    /// # Errors
    /// The key holds another type than a hash.
    pub fn peek_hash<'k>(&'k mut self, name: &'k Argument<'k>) -> Result<Hash<'k>, Refusal> {
        self.kept.close_all();
        // SAFETY: ctx and name belong to the call in progress.
        let key = unsafe { api!(RedisModule_OpenKey(self.ctx, name.string, UNSEEN)) };
        self.hash(name, key.cast(), None)
    }

    fn hash<'k>(
        &'k self,
        name: &'k Argument<'k>,
        key: *mut raw::RedisModuleKey,
        kept: Option<&'k Kept<'k>>,
    ) -> Result<Hash<'k>, Refusal> {
        let hash = Hash {
            ctx: self.ctx,
            name,
            key,
            kept,
            now: self.now(),
            // SAFETY: ctx is that of the call in progress.
            changes: unsafe { Changes::new(self.ctx) },
        };
        // SAFETY: the key is open, or null, which the server accepts as an empty key.
        match unsafe { api!(RedisModule_KeyType(hash.key)) } as isize {
            raw::REDISMODULE_KEYTYPE_EMPTY | raw::REDISMODULE_KEYTYPE_HASH => Ok(hash),
            _ => Err(Refusal::WrongType),
        }
    }
}

impl<'k> Hash<'k> {
    /// Returns the number of fields; 0 if the key does not exist.
    pub fn len(&self) -> usize {
        match self.key.is_null() {
            true => 0,
            // SAFETY: the key is open.
            false => unsafe { api!(RedisModule_ValueLength(self.key)) },
        }
    }

    /// Returns whether the key has expired at the time of the call. The server may still have it: a
    /// replica keeps it until its master removes it.
    pub fn has_expired(&self) -> bool {
        // SAFETY: the key is open and holds something.
        self.len() > 0 && unsafe { expiry::has_passed(self.key, self.now) }
    }

    /// Returns the key's expiry in Unix milliseconds; `None` if it has none or does not exist.
    pub fn expires_at(&self) -> Option<i64> {
        match self.key.is_null() {
            true => None,
            // SAFETY: the key is open.
            false => unsafe { expiry::get(self.key) },
        }
    }

    /// Returns a name as a field.
    pub fn name(&self, name: &'static Name) -> Argument<'k> {
        // SAFETY: the call in progress, whose ctx this has, outlives `'k`.
        unsafe { name.argument() }
    }

    /// Returns what `read` makes of a field's value; `None` if there is no such field.
    pub fn get<T>(&self, field: &Argument<'_>, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let [value, _] = self.values([field.string, END]);
        value.map(|value| read(value.name().bytes()))
    }

    /// Returns what `read` makes of the values of two fields, each `None` if there is no such field.
    pub fn get_both<T>(
        &self,
        fields: [&Argument<'_>; 2],
        read: impl FnOnce([Option<&[u8]>; 2]) -> T,
    ) -> T {
        let values = self.values(fields.map(|field| field.string));
        read([0, 1].map(|nth: usize| Some(values.get(nth)?.as_ref()?.name().bytes())))
    }

    /// Returns the values of two fields; the second may be the end of the list.
    fn values(&self, [first, second]: [*mut raw::RedisModuleString; 2]) -> [Option<Member>; 2] {
        let mut values: [*mut raw::RedisModuleString; 2] = [ptr::null_mut(); 2];
        if self.len() == 0 {
            return [None, None];
        }
        let [one, two] = &mut values;
        let (one, two) = (ptr::from_mut(one), ptr::from_mut(two));
        // SAFETY: the key is open and holds a hash; the variadic arguments are fields, each with
        // the place for its value, and the end of the list. The values are ours to free, within
        // this call.
        unsafe {
            api!(RedisModule_HashGet(
                self.key, NO_FLAGS, first, one, second, two, END
            ));
            values.map(|value| Member::own(self.ctx, value))
        }
    }

    /// Calls `see` with every field and its value, in no order. The field must not be changed
    /// meanwhile.
    pub fn each(&self, mut see: impl FnMut(&[u8], &[u8])) {
        if self.len() == 0 {
            return;
        }
        let (show, see) = callback(&mut see);
        // SAFETY: the key is open and holds a hash, which nothing changes during the scan, since
        // the callback has no access to it. The cursor is freed once the scan is over.
        unsafe {
            let cursor = api!(RedisModule_ScanCursorCreate());
            while api!(RedisModule_ScanKey(self.key, cursor, show, see)) != 0 {}
            api!(RedisModule_ScanCursorDestroy(cursor));
        }
    }

    /// Sets a field that the call names.
    pub fn set(&mut self, field: &Argument<'k>, value: &[u8]) {
        if let Some(value) = self.text(value) {
            self.write([field.string, value.name().string], [END; 2]);
            self.changes.set(field.string, value);
        }
    }

    /// Sets two fields that the call names.
    pub fn set_both(&mut self, [(one, first), (two, second)]: [(&Argument<'k>, &[u8]); 2]) {
        if let (Some(first), Some(second)) = (self.text(first), self.text(second)) {
            self.write(
                [one.string, first.name().string],
                [two.string, second.name().string],
            );
            self.changes.set(one.string, first);
            self.changes.set(two.string, second);
        }
    }

    /// Sets a field that the call does not name.
    pub fn set_found(&mut self, field: &[u8], value: &[u8]) {
        if let (Some(field), Some(value)) = (self.text(field), self.text(value)) {
            self.write([field.name().string, value.name().string], [END; 2]);
            self.changes.set_owned(field, value);
        }
    }

    /// Removes a field, which must not be the last one.
    pub fn remove(&mut self, field: &[u8]) {
        if let Some(field) = self.text(field) {
            self.write([field.name().string, REMOVED], [END; 2]);
            self.changes.removed(field);
        }
    }

    /// Sets or removes two fields; the second may be the end of the list.
    fn write(
        &mut self,
        [one, first]: [*mut raw::RedisModuleString; 2],
        [two, second]: [*mut raw::RedisModuleString; 2],
    ) {
        // SAFETY: the key is open for writing, and empty or a hash; the variadic arguments are
        // fields, each with its value, and the end of the list. The server copies them.
        unsafe {
            api!(RedisModule_HashSet(
                self.key, NO_FLAGS, one, first, two, second, END
            ))
        };
    }

    fn text(&self, bytes: &[u8]) -> Option<Member> {
        // SAFETY: ctx is that of the call in progress; the server copies the bytes, and the string
        // is ours to free.
        unsafe {
            let (start, len) = (bytes.as_ptr().cast(), bytes.len());
            Member::own(
                self.ctx,
                api!(RedisModule_CreateString(self.ctx, start, len)),
            )
        }
    }

    /// Removes the key. A large hash is freed in the background.
    pub fn clear(&mut self) {
        // SAFETY: the key is open for writing.
        unsafe { api!(RedisModule_UnlinkKey(self.key)) };
        self.changes.cleared();
    }

    /// Lets the key expire at `at_ms` (Unix milliseconds).
    pub fn expire_at(&mut self, at_ms: i64) {
        // SAFETY: the key is open for writing and holds something.
        unsafe { expiry::set(self.key, at_ms) };
        self.changes.expires(at_ms);
    }
}

impl Drop for Hash<'_> {
    fn drop(&mut self) {
        // SAFETY: ctx and name belong to the call in progress; the strings of the changes are the
        // call's own, or owned by the changes. The key was opened for this value and is closed only
        // here.
        unsafe {
            if !self.changes.is_empty() {
                api!(RedisModule_SignalModifiedKey(self.ctx, self.name.string));
                self.changes.replicate(self.ctx, self.name);
            }
            match self.kept {
                Some(kept) => kept.close(self.name, Handle::unread(self.key)),
                None if self.key.is_null() => {}
                None => {
                    api!(RedisModule_CloseKey(self.key));
                }
            }
        }
    }
}

/// Returns the server's form of a closure that sees fields.
fn callback<F: FnMut(&[u8], &[u8])>(see: &mut F) -> (raw::RedisModuleScanKeyCB, *mut c_void) {
    unsafe extern "C" fn show<F: FnMut(&[u8], &[u8])>(
        _key: *mut raw::RedisModuleKey,
        field: *mut raw::RedisModuleString,
        value: *mut raw::RedisModuleString,
        see: *mut c_void,
    ) {
        if field.is_null() || value.is_null() {
            return;
        }
        // SAFETY: the server passes on the closure that the scan was begun with, and strings that
        // live until this returns.
        unsafe {
            let see = &mut *see.cast::<F>();
            see(Argument::new(field).bytes(), Argument::new(value).bytes());
        }
    }
    (Some(show::<F>), ptr::from_mut(see).cast())
}
