// SPDX-License-Identifier: Apache-2.0
// addon.node: what ts/native/native.ts declares, in the same order. Each method checks its
// arguments, calls C and converts; nothing is decided here.
#include <fcntl.h>
#include <napi.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addon/arguments.h"
#include "addon/channel.h"
#include "addon/errors.h"
#include "addon/layout.h"
#include "addon/link.h"
#include "addon/options.h"
#include "launcher/protocol.h"
#include "os/os.h"

namespace usher {

namespace {

Napi::Object Frozen(Napi::Object object) {
    object.Freeze();
    return object;
}

Napi::Object Limits(Napi::Env env) {
    Napi::Object limits = Napi::Object::New(env);
    limits.Set("layoutVersion", USHER_LAYOUT_VERSION);
    limits.Set("classesMax", USHER_CLASSES_MAX);
    limits.Set("endpointsMax", USHER_ENDPOINTS_MAX);
    limits.Set("classEndpointsMax", USHER_CLASS_ENDPOINTS_MAX);
    limits.Set("workersMax", USHER_WORKERS_MAX);
    limits.Set("startRequestsMax", USHER_START_REQUESTS_MAX);
    limits.Set("keyMax", USHER_KEY_MAX);
    limits.Set("reasonMax", USHER_REASON_MAX);
    limits.Set("addressMax", USHER_ADDRESS_MAX);
    limits.Set("serverNameMax", USHER_SERVER_NAME_MAX);
    limits.Set("histogramBuckets", USHER_HISTOGRAM_BUCKETS);
    limits.Set("messageMax", USHER_MESSAGE_MAX);
    limits.Set("managerLinkFd", USHER_MANAGER_LINK_FD);
    limits.Set("outputKept", USHER_OUTPUT_KEPT);
    return Frozen(limits);
}

Napi::Object Layout(Napi::Env env) {
    size_t count = 0;
    const usher_layout_entry_t *entries = usher_layout_entries(&count);
    Napi::Object layout = Napi::Object::New(env);
    for (size_t i = 0; i < count; i++) {
        layout.Set(entries[i].name, static_cast<double>(entries[i].bytes));
    }
    return Frozen(layout);
}

Napi::Object ClassFlags(Napi::Env env) {
    Napi::Object flags = Napi::Object::New(env);
    flags.Set("keepConn", USHER_CLASS_KEEP_CONN);
    flags.Set("flush", USHER_CLASS_FLUSH);
    flags.Set("nph", USHER_CLASS_NPH);
    flags.Set("fastcgi", USHER_CLASS_FASTCGI << USHER_CLASS_PROTOCOL_SHIFT);
    flags.Set("cgi", USHER_CLASS_CGI << USHER_CLASS_PROTOCOL_SHIFT);
    flags.Set("ajp", USHER_CLASS_AJP << USHER_CLASS_PROTOCOL_SHIFT);
    flags.Set("ajp12", USHER_CLASS_AJP12 << USHER_CLASS_PROTOCOL_SHIFT);
    return Frozen(flags);
}

Napi::Value NowMs(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), static_cast<double>(usher_os_now_ns()) / 1e6);
}

Napi::Value AcceptQueue(const Napi::CallbackInfo &info) {
    const uint32_t inode = Arguments(info).Number("inode", 1);
    const int length = usher_os_accept_queue(inode);
    if (length < 0 && errno != ENOENT) {
        throw MakeSystemError(info.Env(), "acceptQueue", errno);
    }
    return Napi::Number::New(info.Env(), length);
}

/* connections(inode, path, port, onlyWaiting): path "" = TCP. null = no such listener. */
Napi::Value Connections(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const uint32_t inode = arguments.Number("inode", 1);
    const std::string path = arguments.Text("path");
    const uint32_t port = arguments.Number("port", 0, UINT16_MAX);
    const bool only_waiting = info.Length() > 3 && info[3].ToBoolean();
    usher_os_connections_t connections;
    if (usher_os_connections(path.empty() ? nullptr : path.c_str(), static_cast<uint16_t>(port),
                             inode, only_waiting, &connections) < 0) {
        if (errno == ENOENT) {
            return info.Env().Null();
        }
        throw MakeSystemError(info.Env(), "connections", errno);
    }
    Napi::Object counts = Napi::Object::New(info.Env());
    counts.Set("waiting", connections.waiting);
    counts.Set("accepted", connections.accepted);
    return counts;
}

Napi::Value IsLocked(const Napi::CallbackInfo &info) {
    const std::string path = Arguments(info).Text("path");
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ENOENT) {
            return Napi::Boolean::New(info.Env(), false);
        }
        throw MakeSystemError(info.Env(), "isLocked: " + path, errno);
    }
    const int errno_value = flock(fd, LOCK_SH | LOCK_NB) == 0 ? 0 : errno;
    close(fd);
    if (errno_value != 0 && errno_value != EWOULDBLOCK) {
        throw MakeSystemError(info.Env(), "isLocked: " + path, errno_value);
    }
    return Napi::Boolean::New(info.Env(), errno_value == EWOULDBLOCK);
}

/* A connected socket from which nothing can be read just now: no byte, no end, no error. */
Napi::Value IsQuiet(const Napi::CallbackInfo &info) {
    const uint32_t fd = Arguments(info).Number("fd", 0, INT32_MAX);
    char byte;
    const ssize_t length = recv(static_cast<int>(fd), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    const bool is_quiet = length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    return Napi::Boolean::New(info.Env(), is_quiet);
}

/* Who connected, or made, the other end of a UNIX socket. */
Napi::Value Peer(const Napi::CallbackInfo &info) {
    const int fd = Arguments(info).Next("fd").Descriptor();
    usher_os_peer_t peer;
    if (usher_os_peer(fd, &peer) < 0) {
        throw MakeSystemError(info.Env(), "peer", errno);
    }
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("pid", peer.pid);
    result.Set("uid", peer.uid);
    return result;
}

/* `to` becomes another descriptor of what `from` is; what it was is closed in the same moment. */
Napi::Value DuplicateTo(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const int from = arguments.Next("from").Descriptor();
    const int to = arguments.Next("to").Descriptor();
    if (dup2(from, to) < 0) {
        throw MakeSystemError(info.Env(), "duplicateTo", errno);
    }
    return info.Env().Undefined();
}

} // namespace

Napi::Object Export(Napi::Env env, Napi::Object exports) {
    exports.Set("Channel", ChannelWrap::Define(env));
    exports.Set("LauncherLink", LinkWrap::Define(env));
    exports.Set("limits", Limits(env));
    exports.Set("layout", Layout(env));
    exports.Set("classFlags", ClassFlags(env));
    exports.Set("options", Napi::Function::New<Options>(env, "options"));
    exports.Set("parseOptions", Napi::Function::New<ParseOptions>(env, "parseOptions"));
    exports.Set("splitCommand", Napi::Function::New<SplitCommand>(env, "splitCommand"));
    exports.Set("checkClassName", Napi::Function::New<CheckClassName>(env, "checkClassName"));
    exports.Set("checkLoopback", Napi::Function::New<CheckLoopback>(env, "checkLoopback"));
    exports.Set("nowMs", Napi::Function::New<NowMs>(env, "nowMs"));
    exports.Set("acceptQueue", Napi::Function::New<AcceptQueue>(env, "acceptQueue"));
    exports.Set("connections", Napi::Function::New<Connections>(env, "connections"));
    exports.Set("isLocked", Napi::Function::New<IsLocked>(env, "isLocked"));
    exports.Set("isQuiet", Napi::Function::New<IsQuiet>(env, "isQuiet"));
    exports.Set("duplicateTo", Napi::Function::New<DuplicateTo>(env, "duplicateTo"));
    exports.Set("peer", Napi::Function::New<Peer>(env, "peer"));
    return exports;
}

} // namespace usher

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
    return usher::Export(env, exports);
}

NODE_API_MODULE(usher, Init)
