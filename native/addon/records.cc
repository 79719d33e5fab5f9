// SPDX-License-Identifier: Apache-2.0
#include "addon/records.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace usher {

namespace {

constexpr Word<usher_address_kind_t> kAddressKinds[] = {
    {USHER_ADDRESS_SERVER_SOCKET, "serverSocket"},
    {USHER_ADDRESS_UNIX, "unix"},
    {USHER_ADDRESS_INET, "inet"},
    {USHER_ADDRESS_INET6, "inet6"},
};

constexpr uint32_t kPathMax = sizeof(sockaddr_un::sun_path) - 1;

Napi::Number Number(Napi::Env env, uint64_t value) {
    return Napi::Number::New(env, static_cast<double>(value));
}

void SetPath(usher_endpoint_address_t *address, const Argument &argument) {
    const std::string path = argument.Text();
    if (path.empty() || path.size() > kPathMax) {
        throw argument.Expected("a path of 1 to " + std::to_string(kPathMax) + " bytes");
    }
    address->length = static_cast<uint32_t>(path.size());
    std::memcpy(address->bytes, path.data(), path.size());
}

template <typename SocketAddress>
void SetSocketAddress(usher_endpoint_address_t *address, const SocketAddress &socket_address) {
    static_assert(sizeof(SocketAddress) <= sizeof(address->bytes), "address fits");
    address->length = sizeof(SocketAddress);
    std::memcpy(address->bytes, &socket_address, sizeof(SocketAddress));
}

void SetHost(const Argument &host, int family, void *binary) {
    if (inet_pton(family, host.Text().c_str(), binary) != 1) {
        throw host.Expected(family == AF_INET ? "a numeric IPv4 address"
                                              : "a numeric IPv6 address");
    }
}

uint16_t PortOf(const Argument &argument) {
    return htons(static_cast<uint16_t>(argument.Property("port").Number(1, 65535)));
}

void SetInet(Napi::Object object, int family, const void *binary, uint16_t port) {
    char host[INET6_ADDRSTRLEN] = "";
    inet_ntop(family, binary, host, sizeof(host));
    object.Set("host", host);
    object.Set("port", Napi::Number::New(object.Env(), ntohs(port)));
}

Napi::Object FromAddress(Napi::Env env, const usher_endpoint_address_t &address) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("kind", TextOf(kAddressKinds, address.kind));
    const char *text = reinterpret_cast<const char *>(address.bytes);
    const size_t length = strnlen(text, std::min<size_t>(address.length, sizeof(address.bytes)));
    switch (address.kind) {
    case USHER_ADDRESS_SERVER_SOCKET:
        object.Set("name", Napi::String::New(env, text, length));
        break;
    case USHER_ADDRESS_UNIX:
        object.Set("path", Napi::String::New(env, text, length));
        break;
    case USHER_ADDRESS_INET: {
        sockaddr_in inet;
        std::memcpy(&inet, address.bytes, sizeof(inet));
        SetInet(object, AF_INET, &inet.sin_addr, inet.sin_port);
        break;
    }
    case USHER_ADDRESS_INET6: {
        sockaddr_in6 inet6;
        std::memcpy(&inet6, address.bytes, sizeof(inet6));
        SetInet(object, AF_INET6, &inet6.sin6_addr, inet6.sin6_port);
        break;
    }
    }
    return object;
}

Napi::Object FromLimits(Napi::Env env, const usher_class_limits_t &limits) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("flags", Number(env, limits.flags));
    object.Set("queueLimit", Number(env, limits.queue_limit));
    object.Set("queueTimeoutMs", Number(env, limits.queue_timeout_ms));
    object.Set("connectTimeoutMs", Number(env, limits.connect_timeout_ms));
    object.Set("idleTimeoutMs", Number(env, limits.idle_timeout_ms));
    object.Set("requestTimeoutMs", Number(env, limits.request_timeout_ms));
    return object;
}

Napi::Array FromHistogram(Napi::Env env, const uint64_t (&buckets)[USHER_HISTOGRAM_BUCKETS]) {
    Napi::Array array = Napi::Array::New(env, USHER_HISTOGRAM_BUCKETS);
    for (uint32_t i = 0; i < USHER_HISTOGRAM_BUCKETS; i++) {
        array.Set(i, Number(env, buckets[i]));
    }
    return array;
}

} // namespace

usher_class_limits_t LimitsOf(const Argument &argument) {
    usher_class_limits_t limits;
    limits.flags = argument.Property("flags").Number();
    limits.queue_limit = argument.Property("queueLimit").Number();
    limits.queue_timeout_ms = argument.Property("queueTimeoutMs").Number();
    limits.connect_timeout_ms = argument.Property("connectTimeoutMs").Number();
    limits.idle_timeout_ms = argument.Property("idleTimeoutMs").Number();
    limits.request_timeout_ms = argument.Property("requestTimeoutMs").Number();
    return limits;
}

usher_endpoint_address_t AddressOf(const Argument &argument) {
    usher_endpoint_address_t address;
    std::memset(&address, 0, sizeof(address));
    address.kind = argument.Property("kind").OneOf(kAddressKinds);
    switch (address.kind) {
    case USHER_ADDRESS_SERVER_SOCKET:
        SetPath(&address, argument.Property("name"));
        break;
    case USHER_ADDRESS_UNIX:
        SetPath(&address, argument.Property("path"));
        break;
    case USHER_ADDRESS_INET: {
        sockaddr_in inet = {};
        inet.sin_family = AF_INET;
        inet.sin_port = PortOf(argument);
        SetHost(argument.Property("host"), AF_INET, &inet.sin_addr);
        SetSocketAddress(&address, inet);
        break;
    }
    case USHER_ADDRESS_INET6: {
        sockaddr_in6 inet6 = {};
        inet6.sin6_family = AF_INET6;
        inet6.sin6_port = PortOf(argument);
        SetHost(argument.Property("host"), AF_INET6, &inet6.sin6_addr);
        SetSocketAddress(&address, inet6);
        break;
    }
    }
    return address;
}

Napi::Object FromRef(Napi::Env env, usher_ref_t ref) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("index", Number(env, ref.index));
    object.Set("generation", Number(env, ref.generation));
    return object;
}

Napi::Object FromClass(Napi::Env env, const usher_class_info_t &info) {
    char server_id[17];
    std::snprintf(server_id, sizeof(server_id), "%" PRIx64, info.server_id);
    Napi::Object object = Napi::Object::New(env);
    object.Set("ref", FromRef(env, info.ref));
    object.Set("kind", TextOf(kKinds, info.kind));
    object.Set("state", TextOf(kClassStates, info.state));
    object.Set("serverId", server_id);
    object.Set("limits", FromLimits(env, info.limits));
    object.Set("key", info.key);
    return object;
}

Napi::Object FromEndpoint(Napi::Env env, const usher_endpoint_info_t &info) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("ref", FromRef(env, info.ref));
    object.Set("classRef", FromRef(env, info.class_ref));
    object.Set("state", TextOf(kEndpointStates, info.state));
    object.Set("concurrency", Number(env, info.concurrency));
    object.Set("pid", Number(env, info.pid));
    object.Set("address", FromAddress(env, info.address));
    return object;
}

Napi::Object FromServer(Napi::Env env, const usher_server_info_t &info) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("workers", Number(env, info.workers));
    object.Set("settled", Number(env, info.settled));
    object.Set("generation", Number(env, info.generation));
    object.Set("oldestGeneration", Number(env, info.oldest_generation));
    object.Set("startRequestsRefused", Number(env, info.start_requests_refused));
    object.Set("lockTimeouts", Number(env, info.lock_timeouts));
    object.Set("lockSuccessions", Number(env, info.lock_successions));
    return object;
}

Napi::Object FromDamage(Napi::Env env, const usher_damage_t &damage) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("times", Number(env, damage.times));
    object.Set("where", Number(env, damage.where));
    object.Set("what", TextOf(kDamages, damage.what));
    return object;
}

Napi::Object FromLoad(Napi::Env env, const usher_load_t &load) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("arrivals", Number(env, load.arrivals));
    object.Set("admitted", Number(env, load.admitted));
    object.Set("finished", Number(env, load.finished));
    object.Set("failed", Number(env, load.failed));
    object.Set("aborted", Number(env, load.aborted));
    object.Set("refused", Number(env, load.refused));
    object.Set("waitingUs", Number(env, load.waiting_us));
    object.Set("servingUs", Number(env, load.serving_us));
    object.Set("waiting", Number(env, load.waiting));
    object.Set("inFlight", Number(env, load.in_flight));
    return object;
}

Napi::Object FromLoadAndTimes(Napi::Env env, const usher_load_t &load) {
    Napi::Object object = FromLoad(env, load);
    object.Set("waitingHistogram", FromHistogram(env, load.waiting_histogram));
    object.Set("servingHistogram", FromHistogram(env, load.serving_histogram));
    return object;
}

} // namespace usher
