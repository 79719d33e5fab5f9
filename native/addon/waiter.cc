// SPDX-License-Identifier: Apache-2.0
#include "addon/waiter.h"

namespace usher {

namespace {

/* Makes it an uncaughtException: no JavaScript below us could catch it, and Node-API would warn only. */
void Report(Napi::Env env, const Napi::Error &error) {
    try {
        napi_fatal_exception(env, error.Value());
    } catch (const Napi::Error &) {
        // The thread of JavaScript is being terminated: there is nobody to tell.
    }
}

} // namespace

Waiter::Waiter(Napi::Env env, const char *name, bool keeps_alive, Task &task,
               std::chrono::milliseconds rest)
    : env_(env), task_(task), rest_(rest), queue_(Queue::New(env, name, 1, 1, this)) {
    if (!keeps_alive) {
        queue_.Unref(env);
    }
    // Hooks run latest first: the thread is joined before the queue it calls is closed.
    napi_add_env_cleanup_hook(env, AtExit, this);
    thread_ = std::thread(&Waiter::Run, this);
}

Waiter::~Waiter() {
    Stop();
}

void Waiter::AtExit(void *waiter) {
    static_cast<Waiter *>(waiter)->Stop();
}

void Waiter::Stop() {
    if (!thread_.joinable()) {
        return;
    }
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        stopping_ = true;
    }
    delivered_.notify_all();
    task_.Interrupt();
    thread_.join();
    queue_.Abort();
    napi_remove_env_cleanup_hook(env_, AtExit, this);
}

// Does not touch V8: executed in the thread.
void Waiter::Run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!stopping_) {
        lock.unlock();
        task_.Wait();
        lock.lock();
        if (stopping_) {
            break;
        }
        delivering_ = true;
        if (queue_.NonBlockingCall() != napi_ok) {
            break;
        }
        delivered_.wait(lock, [this] { return !delivering_ || stopping_; });
        delivered_.wait_for(lock, rest_, [this] { return stopping_; });
    }
}

void Waiter::Deliver(Napi::Env env, Napi::Function, Waiter *waiter, void *) {
    if (static_cast<napi_env>(env) == nullptr) {
        return; // the queue is emptied at the environment's end
    }
    try {
        waiter->task_.Deliver(env);
    } catch (const Napi::Error &error) {
        Report(env, error);
    }
    {
        const std::lock_guard<std::mutex> guard(waiter->mutex_);
        waiter->delivering_ = false;
    }
    waiter->delivered_.notify_all();
}

} // namespace usher
