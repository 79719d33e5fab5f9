/* SPDX-License-Identifier: Apache-2.0 */
/* Channel: the manager's side of the channel (channel/manager.h) as a JavaScript class. */
#ifndef USHER_ADDON_CHANNEL_H
#define USHER_ADDON_CHANNEL_H

#include <napi.h>

#include <memory>

#include "addon/waiter.h"
#include "channel/manager.h"

namespace usher {

class ChannelWrap : public Napi::ObjectWrap<ChannelWrap>, public Waiter::Task {
  public:
    static Napi::Function Define(Napi::Env env);

    explicit ChannelWrap(const Napi::CallbackInfo &info);
    ~ChannelWrap() override;

  private:
    void Close(const Napi::CallbackInfo &info);
    void SetManagerState(const Napi::CallbackInfo &info);
    void Beat(const Napi::CallbackInfo &info);
    void Listen(const Napi::CallbackInfo &info);
    void Rest(const Napi::CallbackInfo &info);
    Napi::Value AddClass(const Napi::CallbackInfo &info);
    void SetLimits(const Napi::CallbackInfo &info);
    void SetFull(const Napi::CallbackInfo &info);
    void SetClass(const Napi::CallbackInfo &info);
    void RemoveClass(const Napi::CallbackInfo &info);
    Napi::Value Classes(const Napi::CallbackInfo &info);
    Napi::Value AddEndpoint(const Napi::CallbackInfo &info);
    void SetEndpoint(const Napi::CallbackInfo &info);
    void RemoveEndpoint(const Napi::CallbackInfo &info);
    Napi::Value Endpoints(const Napi::CallbackInfo &info);
    Napi::Value InFlight(const Napi::CallbackInfo &info);
    Napi::Value Served(const Napi::CallbackInfo &info);
    Napi::Value Hung(const Napi::CallbackInfo &info);
    Napi::Value Unreached(const Napi::CallbackInfo &info);
    Napi::Value AttachServer(const Napi::CallbackInfo &info);
    void DetachServer(const Napi::CallbackInfo &info);
    Napi::Value Settle(const Napi::CallbackInfo &info);
    Napi::Value DamageOf(const Napi::CallbackInfo &info);
    Napi::Value GenerationLives(const Napi::CallbackInfo &info);
    Napi::Value StartRequests(const Napi::CallbackInfo &info);
    void FinishStartRequest(const Napi::CallbackInfo &info);
    Napi::Value Changed(const Napi::CallbackInfo &info);
    Napi::Value LoadOf(const Napi::CallbackInfo &info);
    Napi::Value LoadAndTimesOf(const Napi::CallbackInfo &info);
    Napi::Value RepairHints(const Napi::CallbackInfo &info);

    /* The doorbell: sleeps in usher_manager_wait, calls onRing. */
    void Wait() override;
    void Interrupt() override;
    void Deliver(Napi::Env env) override;

    /* The mapping; throws after close(). */
    usher_manager_t *Manager(Napi::Env env) const;
    /* `read(index, &info)` for every index below `count`: the records that are in use, converted. */
    template <typename Info, typename Read, typename Convert>
    Napi::Value List(Napi::Env env, const char *what, uint32_t count, Read read, Convert convert);

    usher_manager_t *manager_ = nullptr;
    std::unique_ptr<Waiter> doorbell_;
    Napi::FunctionReference on_ring_;
    uint32_t timeout_ms_ = 0;
    bool rang_ = false; /* handed from thread to event loop by the Waiter */
};

} // namespace usher

#endif
