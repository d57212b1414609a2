//! `COMMAND DOCS` and `COMMAND INFO`, on servers that support them.

use std::ffi::CStr;
use std::os::raw::c_int;
use std::ptr;

use redis_module::raw;

use super::api::OK;

use super::description::{Access, Description, Doc, Keys};

/// Documents a command (on servers from 7.0 on) and assigns its ACL categories (from 7.2 on).
/// Returns `false` if the server refuses either.
///
/// # Safety
/// `ctx` must be that of the module's load in progress, in which the command was registered.
pub(super) unsafe fn describe(ctx: *mut raw::RedisModuleCtx, description: &Description) -> bool {
    // SAFETY: reads of function pointers that the load has filled in.
    let (get, set, categorize) = unsafe {
        (
            raw::RedisModule_GetCommand,
            raw::RedisModule_SetCommandInfo,
            raw::RedisModule_SetCommandACLCategories,
        )
    };
    let (Some(get), Some(set)) = (get, set) else {
        return true;
    };
    let version = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
    };
    let mut key_specs = description.key_specs();
    let mut lists = Vec::new();
    let info = raw::RedisModuleCommandInfo {
        version: &version,
        summary: description.summary.as_ptr(),
        complexity: description.complexity.as_ptr(),
        since: description.since.as_ptr(),
        history: ptr::null_mut(),
        tips: description.tips.map_or(ptr::null(), CStr::as_ptr),
        // Any number of arguments reaches the command, which replies with its syntax. The server
        // would report only a wrong number of arguments.
        arity: -1,
        key_specs: key_specs.as_mut_ptr(),
        args: Doc::to_raw(description.arguments, &mut lists),
    };
    // SAFETY: ctx is the load's; the lists end in a zeroed entry, and the server copies everything
    // before it returns.
    unsafe {
        let command = get(ctx, description.name.as_ptr());
        let categories = description.categories().as_ptr();
        !command.is_null()
            && set(command, &info) == OK
            && categorize.is_none_or(|put| put(command, categories) == OK)
    }
}

/// Returns whether the server keeps documentation of commands, as it does from 7.0 on.
pub(super) fn is_known() -> bool {
    // SAFETY: a read of a function pointer that the load has filled in.
    let set = unsafe { raw::RedisModule_SetCommandInfo };
    set.is_some()
}

impl Description {
    fn categories(&self) -> &'static CStr {
        match (self.access, self.keys) {
            (Access::Write, Keys::Counted { .. }) => c"write slow",
            (Access::Write, _) => c"write fast",
            (Access::Wait, _) => c"write fast blocking",
            (Access::Read, _) => c"read fast",
            (Access::List, _) => c"read slow",
            (Access::Admin, _) => c"admin dangerous slow",
        }
    }

    /// Returns the key specifications, terminated by a zeroed entry.
    fn key_specs(&self) -> [raw::RedisModuleCommandKeySpec; 2] {
        // SAFETY: a struct of numbers, nullable pointers and unions of these, for which all-zero
        // bytes are valid.
        let (mut spec, end): (raw::RedisModuleCommandKeySpec, _) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        spec.flags = match self.access {
            Access::Read | Access::List | Access::Admin => {
                raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS
            }
            Access::Write | Access::Wait => {
                raw::REDISMODULE_CMD_KEY_RW
                    | raw::REDISMODULE_CMD_KEY_ACCESS
                    | raw::REDISMODULE_CMD_KEY_UPDATE
            }
        }
        .into();
        spec.begin_search_type = raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
        spec.bs.index.pos = 1;
        match self.keys {
            Keys::None => return [end, end],
            Keys::First => {
                spec.find_keys_type =
                    raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
                spec.fk.range.keystep = 1;
            }
            Keys::Counted { step } => {
                // Redis 7.0 ignores the step of a specification like this one. With variable flags
                // it asks the command for the positions instead.
                spec.flags |= u64::from(raw::REDISMODULE_CMD_KEY_VARIABLE_FLAGS);
                spec.find_keys_type =
                    raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_KEYNUM;
                spec.fk.keynum = raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_2 {
                    keynumidx: 0,
                    firstkey: 1,
                    keystep: step as c_int,
                };
            }
        }
        [spec, end]
    }
}

impl Doc {
    /// Converts a list to its C form, terminated by a zeroed entry; `lists` keeps the memory.
    fn to_raw(docs: &[Self], lists: &mut Vec<List>) -> *mut raw::RedisModuleCommandArg {
        let is_key =
            |doc: &Self| doc.kind == raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY;
        let mut list = Vec::new();
        for doc in docs {
            list.push(raw::RedisModuleCommandArg {
                name: doc.name.as_ptr(),
                type_: doc.kind,
                key_spec_index: if is_key(doc) { 0 } else { -1 },
                token: doc.token.map_or(ptr::null(), CStr::as_ptr),
                summary: ptr::null(),
                since: ptr::null(),
                flags: doc.flags as c_int,
                deprecated_since: ptr::null(),
                subargs: if doc.parts.is_empty() {
                    ptr::null_mut()
                } else {
                    Self::to_raw(doc.parts, lists)
                },
                display_text: ptr::null(),
            });
        }
        // SAFETY: a struct of numbers and nullable pointers, for which all-zero bytes are valid.
        list.push(unsafe { std::mem::zeroed() });
        let list = List::of(list);
        let start = list.0.cast();
        lists.push(list);
        start
    }
}

/// A list of arguments, held by a pointer: a box must not be moved while its content is pointed to.
struct List(*mut [raw::RedisModuleCommandArg]);

impl List {
    fn of(list: Vec<raw::RedisModuleCommandArg>) -> Self {
        Self(Box::into_raw(list.into_boxed_slice()))
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the pointer is that of a box, which `of` gave up and only this frees.
        drop(unsafe { Box::from_raw(self.0) });
    }
}
