/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that sleeps in C until something happens and then has the event loop deal with it. It
 * does not look again before that is done, so what happens meanwhile is merged. Doorbell and link
 * use it; it needs nothing but Node-API (libuv's headers do not come with every Node).
 */
#ifndef USHER_ADDON_WAITER_H
#define USHER_ADDON_WAITER_H

#include <napi.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace usher {

class Waiter {
  public:
    class Task {
      public:
        virtual ~Task() = default;
        /* Sleeps. Runs in the thread: no JavaScript here. */
        virtual void Wait() = 0;
        /* Makes Wait return; called from the event loop. */
        virtual void Interrupt() = 0;
        /* Runs on the event loop while the thread rests, after each Wait. May call Stop. A
         * JavaScript exception becomes an uncaughtException. */
        virtual void Deliver(Napi::Env env) = 0;
    };

    /* Starts the thread. `keeps_alive`: the process does not end while it runs. `rest`: least time
     * between a Deliver and the next Wait; what happens meanwhile is merged. */
    Waiter(Napi::Env env, const char *name, bool keeps_alive, Task &task,
           std::chrono::milliseconds rest = std::chrono::milliseconds::zero());
    ~Waiter();
    Waiter(const Waiter &) = delete;
    Waiter &operator=(const Waiter &) = delete;

    /* Joins the thread; no Deliver begins after it. Idempotent. Runs at the environment's end, too. */
    void Stop();

  private:
    static void Deliver(Napi::Env env, Napi::Function unused, Waiter *waiter, void *data);
    static void AtExit(void *waiter);
    void Run();

    using Queue = Napi::TypedThreadSafeFunction<Waiter, void, Deliver>;

    Napi::Env env_;
    Task &task_;
    const std::chrono::milliseconds rest_;
    Queue queue_;
    std::mutex mutex_;
    std::condition_variable delivered_;
    bool delivering_ = false;
    bool stopping_ = false;
    std::thread thread_;
};

} // namespace usher

#endif
