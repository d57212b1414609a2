//! The functions of the server's module API that may be called. [`missing`] checks at load that the
//! server has them; `api!` does not compile for a function that is not listed here.

use std::ffi::CStr;
use std::os::raw::c_int;

use redis_module::raw;

/// The status of a successful call of the module API.
pub(super) const OK: c_int = redis_module::raw::REDISMODULE_OK as c_int;

macro_rules! list {
    ($($function:ident)*) => {
        /// One constant per listed function, which `api!` names.
        #[allow(non_upper_case_globals)]
        pub(in crate::server) mod listed {
            $(pub(in crate::server) const $function: () = ();)*
        }

        /// Returns the first listed function that this server lacks.
        pub(super) fn missing() -> Option<&'static CStr> {
            // SAFETY: reads function pointers that the load has filled in.
            unsafe { $(if { raw::$function }.is_none() {
                const NAME: &CStr = super::text::c_str(concat!(stringify!($function), "\0"));
                return Some(NAME);
            })* }
            None
        }
    };
}

list! {
    RedisModule_AvoidReplicaTraffic
    RedisModule_BlockClient
    RedisModule_Call
    RedisModule_CallReplyArrayElement
    RedisModule_CallReplyInteger
    RedisModule_CallReplyStringPtr
    RedisModule_CallReplyType
    RedisModule_CloseKey
    RedisModule_CreateCommand
    RedisModule_CreateString
    RedisModule_CreateStringFromCallReply
    RedisModule_CreateStringFromLongLong
    RedisModule_CreateTimer
    RedisModule_DbSize
    RedisModule_DeleteKey
    RedisModule_FreeCallReply
    RedisModule_FreeServerInfo
    RedisModule_FreeString
    RedisModule_GetBlockedClientHandle
    RedisModule_GetClientId
    RedisModule_GetClientInfoById
    RedisModule_GetContextFlags
    RedisModule_GetExpire
    RedisModule_GetLFU
    RedisModule_GetLRU
    RedisModule_GetSelectedDb
    RedisModule_GetServerInfo
    RedisModule_GetTimerInfo
    RedisModule_HashGet
    RedisModule_HashSet
    RedisModule_InfoAddFieldCString
    RedisModule_InfoAddFieldULongLong
    RedisModule_InfoAddSection
    RedisModule_IsKeysPositionRequest
    RedisModule_KeyAtPos
    RedisModule_KeyType
    RedisModule_Milliseconds
    RedisModule_NotifyKeyspaceEvent
    RedisModule_OpenKey
    RedisModule_RegisterInfoFunc
    RedisModule_Replicate
    RedisModule_ReplicateVerbatim
    RedisModule_ReplyWithArray
    RedisModule_ReplyWithError
    RedisModule_ReplyWithLongLong
    RedisModule_ReplyWithSimpleString
    RedisModule_ReplyWithStringBuffer
    RedisModule_ScanCursorCreate
    RedisModule_ScanCursorDestroy
    RedisModule_ScanKey
    RedisModule_SelectDb
    RedisModule_ServerInfoGetFieldC
    RedisModule_ServerInfoGetFieldUnsigned
    RedisModule_SetDisconnectCallback
    RedisModule_SetExpire
    RedisModule_SetLFU
    RedisModule_SetLRU
    RedisModule_SetModuleOptions
    RedisModule_SignalModifiedKey
    RedisModule_StopTimer
    RedisModule_StringDMA
    RedisModule_StringPtrLen
    RedisModule_StringTruncate
    RedisModule_SubscribeToServerEvent
    RedisModule_UnblockClient
    RedisModule_UnlinkKey
    RedisModule_ValueLength
    RedisModule_ZsetAdd
    RedisModule_ZsetFirstInScoreRange
    RedisModule_ZsetLastInScoreRange
    RedisModule_ZsetRangeCurrentElement
    RedisModule_ZsetRangeEndReached
    RedisModule_ZsetRangeNext
    RedisModule_ZsetRem
    RedisModule_ZsetScore
}

/// Calls a listed function of the module API.
macro_rules! api {
    ($function:ident($($argument:expr),* $(,)?)) => {{
        let () = $crate::server::api::listed::$function;
        match redis_module::raw::$function {
            Some(function) => function($($argument),*),
            // SAFETY: the function is listed, and the library does not load if a listed one is
            // missing.
            None => std::hint::unreachable_unchecked(),
        }
    }};
}
pub(super) use api;
