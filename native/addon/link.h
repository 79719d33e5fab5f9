/* SPDX-License-Identifier: Apache-2.0 */
/* LauncherLink: packets and descriptors over a SOCK_SEQPACKET socket (launcher/protocol.h). */
#ifndef USHER_ADDON_LINK_H
#define USHER_ADDON_LINK_H

#include <napi.h>

#include <memory>
#include <vector>

#include "addon/waiter.h"

namespace usher {

class LinkWrap : public Napi::ObjectWrap<LinkWrap>, public Waiter::Task {
  public:
    static Napi::Function Define(Napi::Env env);

    explicit LinkWrap(const Napi::CallbackInfo &info);
    ~LinkWrap() override;

  private:
    Napi::Value Send(const Napi::CallbackInfo &info);
    void Close(const Napi::CallbackInfo &info);

    /* The thread only watches; packets are read on the event loop. */
    void Wait() override;
    void Interrupt() override;
    void Deliver(Napi::Env env) override;

    /* The next packet goes to onMessage; EAGAIN: there is none; EOF: the launcher is gone. */
    enum class Receipt { kPacket, kNone, kEnd };
    Receipt Receive(Napi::Env env);
    void End();

    int fd_ = -1;
    int interrupt_fd_ = -1; /* eventfd */
    bool was_reset_ = false;
    std::vector<uint8_t> packet_;
    Napi::FunctionReference on_message_, on_close_;
    std::unique_ptr<Waiter> watch_;
};

} // namespace usher

#endif
