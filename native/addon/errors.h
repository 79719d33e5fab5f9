/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the C libraries' statuses to JavaScript errors: `code` is the status's name, `errno` the
 * failed system call's. Used by every file of the addon.
 */
#ifndef USHER_ADDON_ERRORS_H
#define USHER_ADDON_ERRORS_H

#include <napi.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "channel/channel.h"

namespace usher {

struct StatusName {
    const char *code;
    const char *sentence; /* for calls that tell nothing more themselves */
};

inline StatusName NameOfStatus(usher_status_t status) {
    switch (status) {
    case USHER_OK:
        return {"ERR_USHER_OK", "no error"};
    case USHER_AGAIN:
        return {"ERR_USHER_AGAIN", "not now"};
    case USHER_REFUSED:
        return {"ERR_USHER_REFUSED", "refused"};
    case USHER_FULL:
        return {"ERR_USHER_FULL", "no free slot, entry or record"};
    case USHER_NOT_FOUND:
        return {"ERR_USHER_NOT_FOUND", "no such class, endpoint or server"};
    case USHER_STALE:
        return {"ERR_USHER_STALE", "the reference's generation is over"};
    case USHER_TIMEOUT:
        return {"ERR_USHER_TIMEOUT", "the deadline passed"};
    case USHER_CORRUPT:
        return {"ERR_USHER_CORRUPT", "the channel holds bytes that cannot be right"};
    case USHER_VERSION:
        return {"ERR_USHER_VERSION", "the channel has another layout version"};
    case USHER_SYSTEM:
        return {"ERR_USHER_SYSTEM", "a system call failed"};
    case USHER_INVALID:
        return {"ERR_USHER_INVALID", "an argument is out of its range"};
    }
    return {"ERR_USHER_UNKNOWN", "unknown status"};
}

inline Napi::Error MakeError(Napi::Env env, const char *code, const std::string &message,
                             int errno_value = 0) {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    if (errno_value != 0) {
        error.Set("errno", Napi::Number::New(env, errno_value));
    }
    return error;
}

/* A failed system call: "close: Bad file descriptor". */
inline Napi::Error MakeSystemError(Napi::Env env, const std::string &what, int errno_value) {
    return MakeError(env, "ERR_USHER_SYSTEM", what + ": " + std::strerror(errno_value),
                     errno_value);
}

/* Throws unless OK; `what` is the method's name. */
inline void Check(Napi::Env env, usher_status_t status, const char *what) {
    if (status == USHER_OK) {
        return;
    }
    const StatusName name = NameOfStatus(status);
    throw MakeError(env, name.code, std::string(what) + ": " + name.sentence);
}

/* The same for calls that explain themselves. */
inline void Check(Napi::Env env, usher_status_t status, const char *what,
                  const usher_error_t &error) {
    if (status == USHER_OK) {
        return;
    }
    const StatusName name = NameOfStatus(status);
    const std::string reason = error.text[0] != '\0' ? error.text : name.sentence;
    throw MakeError(env, name.code, std::string(what) + ": " + reason, error.errno_value);
}

} // namespace usher

#endif
