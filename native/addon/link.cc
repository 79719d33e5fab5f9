// SPDX-License-Identifier: Apache-2.0
#include "addon/link.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>

#include "addon/arguments.h"
#include "addon/errors.h"
#include "launcher/protocol.h"

namespace usher {

namespace {

constexpr size_t kDescriptorsMax = 253; // what the kernel passes with one packet
constexpr int kPacketsPerTurn = 64;     // then other events of the loop have their turn

std::vector<int> DescriptorsOf(msghdr *message) {
    std::vector<int> descriptors;
    for (cmsghdr *header = CMSG_FIRSTHDR(message); header != nullptr;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            const size_t before = descriptors.size();
            descriptors.resize(before + count);
            std::memcpy(descriptors.data() + before, CMSG_DATA(header), count * sizeof(int));
        }
    }
    return descriptors;
}

} // namespace

Napi::Function LinkWrap::Define(Napi::Env env) {
    return DefineClass(env, "LauncherLink",
                       {
                           InstanceMethod<&LinkWrap::Send>("send"),
                           InstanceMethod<&LinkWrap::Close>("close"),
                       });
}

LinkWrap::LinkWrap(const Napi::CallbackInfo &info)
    : Napi::ObjectWrap<LinkWrap>(info), packet_(USHER_MESSAGE_MAX) {
    Arguments arguments(info);
    const int fd = arguments.Next("fd").Descriptor();
    on_message_ = Napi::Persistent(arguments.Next("onMessage").Function());
    on_close_ = Napi::Persistent(arguments.Next("onClose").Function());

    int type = 0;
    socklen_t length = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0) {
        throw MakeSystemError(info.Env(), "LauncherLink: descriptor " + std::to_string(fd), errno);
    }
    if (type != SOCK_SEQPACKET) {
        throw MakeError(info.Env(), "ERR_USHER_INVALID",
                        "LauncherLink: descriptor " + std::to_string(fd) +
                            " is no SOCK_SEQPACKET socket");
    }
    interrupt_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (interrupt_fd_ < 0) {
        throw MakeSystemError(info.Env(), "LauncherLink: eventfd", errno);
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fd_ = fd;
    watch_ = std::make_unique<Waiter>(info.Env(), "usher link", true, *this);
    Ref(); // until the end of the link: the thread uses this object
}

LinkWrap::~LinkWrap() {
    if (watch_ != nullptr) {
        watch_->Stop();
    }
    if (fd_ >= 0) {
        close(fd_);
    }
    if (interrupt_fd_ >= 0) {
        close(interrupt_fd_);
    }
}

void LinkWrap::End() {
    watch_->Stop();
    close(fd_);
    fd_ = -1;
    Unref();
}

void LinkWrap::Close(const Napi::CallbackInfo &) {
    if (fd_ >= 0) {
        End();
    }
}

Napi::Value LinkWrap::Send(const Napi::CallbackInfo &info) {
    const Napi::Buffer<uint8_t> packet = Arguments(info).Next("packet").Bytes(USHER_MESSAGE_MAX);
    if (fd_ < 0) {
        throw MakeError(info.Env(), "ERR_USHER_CLOSED", "send: the link is closed");
    }
    for (;;) {
        if (send(fd_, packet.Data(), packet.Length(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
            return Napi::Boolean::New(info.Env(), true);
        }
        if (errno == EAGAIN || errno == ENOBUFS) {
            return Napi::Boolean::New(info.Env(), false);
        }
        if (errno != EINTR) {
            throw MakeSystemError(info.Env(), "send", errno);
        }
    }
}

// Does not touch V8: executed in the link's thread.
void LinkWrap::Wait() {
    pollfd watched[] = {{fd_, POLLIN, 0}, {interrupt_fd_, POLLIN, 0}};
    poll(watched, 2, -1);
}

void LinkWrap::Interrupt() {
    eventfd_write(interrupt_fd_, 1);
}

void LinkWrap::Deliver(Napi::Env env) {
    const Napi::Value self = Value(); // a callback may close the link and let go of it
    for (int i = 0; i < kPacketsPerTurn && fd_ >= 0; i++) {
        switch (Receive(env)) {
        case Receipt::kPacket:
            break;
        case Receipt::kNone:
            return;
        case Receipt::kEnd:
            End();
            on_close_.Call(self, {});
            return;
        }
    }
}

LinkWrap::Receipt LinkWrap::Receive(Napi::Env env) {
    alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsMax * sizeof(int))];
    iovec vector = {packet_.data(), packet_.size()};
    msghdr message = {};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);

    const ssize_t length = recvmsg(fd_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return Receipt::kNone;
        }
        // A peer that left packets of ours unread is reported before its own last packets.
        const bool is_reset = errno == ECONNRESET && !was_reset_;
        was_reset_ = true;
        return is_reset ? Receive(env) : Receipt::kEnd;
    }
    const std::vector<int> descriptors = DescriptorsOf(&message);
    if (length == 0) {
        return Receipt::kEnd;
    }
    Napi::Array numbers = Napi::Array::New(env, descriptors.size());
    for (uint32_t i = 0; i < descriptors.size(); i++) {
        numbers.Set(i, Napi::Number::New(env, descriptors[i]));
    }
    const auto packet =
        Napi::Buffer<uint8_t>::Copy(env, packet_.data(), static_cast<size_t>(length));
    on_message_.Call(Value(), {packet, numbers});
    return Receipt::kPacket;
}

} // namespace usher
