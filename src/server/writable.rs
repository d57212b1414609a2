//! Checks whether the module may write outside a command, under the server's rules for clients.

use std::ffi::CStr;
use std::os::raw::c_int;

use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::call::Call;

/// The node that serves a key's hash slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// This one.
    Here,
    /// Another one, or the key has moved to another one while its hash slot migrates.
    Elsewhere,
    /// None: the cluster is down.
    Nowhere,
}

impl Call<'_> {
    /// Returns whether the server would let a client write now.
    pub fn may_write(&mut self) -> bool {
        const NOT: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE
            | raw::REDISMODULE_CTX_FLAGS_LOADING
            | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;
        self.flags() & NOT == 0
            && !self.is_paused()
            && self.has_enough_replicas()
            && !self.is_stopped_by_disk()
    }

    /// Returns whether writes are paused: by CLIENT PAUSE, or for a failover.
    pub fn is_paused(&self) -> bool {
        // SAFETY: the function has no preconditions.
        (unsafe { api!(RedisModule_AvoidReplicaTraffic()) }) != 0
    }

    /// Returns whether `min-replicas-to-write` is met. Asking the server by a call in script mode
    /// would crash Valkey 9.1.
    fn has_enough_replicas(&mut self) -> bool {
        match self.info_number(c"replication", c"min_slaves_good_slaves") {
            None => true,
            // If CONFIG was renamed away, nobody knows how many are enough.
            Some(good) => self
                .setting(c"min-replicas-to-write", |needed| {
                    std::str::from_utf8(needed).ok()?.parse().ok()
                })
                .flatten()
                .is_some_and(|needed: u64| good >= needed),
        }
    }

    /// Returns whether the server refuses writes because of a disk error.
    fn is_stopped_by_disk(&mut self) -> bool {
        let persistence = c"persistence";
        if self.info_is(persistence, c"aof_last_write_status", b"err") {
            return true;
        }
        self.info_is(persistence, c"rdb_last_bgsave_status", b"err")
            && self.setting(c"stop-writes-on-bgsave-error", |stop| stop == b"no") != Some(true)
            && self.setting(c"save", <[u8]>::is_empty) != Some(true)
    }

    /// Returns a number of INFO, if the server has it.
    fn info_number(&self, section: &CStr, field: &CStr) -> Option<u64> {
        let mut error: c_int = 0;
        // SAFETY: ctx is that of the call in progress; the information is freed after its use.
        unsafe {
            let info = api!(RedisModule_GetServerInfo(self.ctx, section.as_ptr()));
            let name = field.as_ptr();
            let number = api!(RedisModule_ServerInfoGetFieldUnsigned(
                info, name, &mut error
            ));
            api!(RedisModule_FreeServerInfo(self.ctx, info));
            (error as isize == raw::REDISMODULE_OK).then_some(number)
        }
    }

    /// Returns whether a field of INFO has this text.
    fn info_is(&self, section: &CStr, field: &CStr, text: &[u8]) -> bool {
        // SAFETY: ctx is that of the call in progress; the text lives until the information is
        // freed.
        unsafe {
            let info = api!(RedisModule_GetServerInfo(self.ctx, section.as_ptr()));
            let found = api!(RedisModule_ServerInfoGetFieldC(info, field.as_ptr()));
            let is = !found.is_null() && CStr::from_ptr(found).to_bytes() == text;
            api!(RedisModule_FreeServerInfo(self.ctx, info));
            is
        }
    }

    /// Returns what `read` makes of the value of a setting of the server.
    fn setting<T>(&mut self, name: &CStr, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        // SAFETY: ctx is that of the call in progress; `c` stands for a C string each. The bytes
        // live until the reply is freed.
        unsafe {
            let (config, get) = (c"CONFIG".as_ptr(), c"GET".as_ptr());
            let format = c"cc".as_ptr();
            let reply = api!(RedisModule_Call(
                self.ctx,
                config,
                format,
                get,
                name.as_ptr()
            ));
            if reply.is_null() {
                return None;
            }
            let value = api!(RedisModule_CallReplyArrayElement(reply, 1));
            let mut len = 0;
            let start = match value.is_null() {
                true => std::ptr::null(),
                false => api!(RedisModule_CallReplyStringPtr(value, &mut len)),
            };
            let found =
                (!start.is_null()).then(|| read(std::slice::from_raw_parts(start.cast(), len)));
            api!(RedisModule_FreeCallReply(reply));
            found
        }
    }

    /// Returns which node serves a key. Opening a key does not reveal it; a call of a command does.
    pub fn served(&mut self, name: &Argument<'_>) -> Served {
        if self.flags() & raw::REDISMODULE_CTX_FLAGS_CLUSTER == 0 {
            return Served::Here;
        }
        // SAFETY: ctx and name belong to the call in progress; the format is that of the arguments:
        // string object and two C strings.
        unsafe {
            let (zcount, format) = (c"ZCOUNT".as_ptr(), c"scc".as_ptr());
            let (from, to) = (c"0".as_ptr(), c"0".as_ptr());
            let string = name.string;
            let reply = api!(RedisModule_Call(self.ctx, zcount, format, string, from, to));
            let error = std::io::Error::last_os_error().raw_os_error();
            if reply.is_null() {
                return match error {
                    Some(libc::EPERM) => Served::Elsewhere,
                    // The cluster is down, or the server has no such command: nothing is known.
                    _ => Served::Nowhere,
                };
            }
            api!(RedisModule_FreeCallReply(reply));
            Served::Here
        }
    }
}
