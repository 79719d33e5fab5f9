/* SPDX-License-Identifier: Apache-2.0 */
/* Structs of channel/manager.h ↔ plain objects of ts/native/native.ts. Used by channel.cc. */
#ifndef USHER_ADDON_RECORDS_H
#define USHER_ADDON_RECORDS_H

#include <napi.h>

#include "addon/arguments.h"
#include "channel/manager.h"

namespace usher {

constexpr Word<usher_kind_t> kKinds[] = {
    {USHER_KIND_STATIC, "static"},
    {USHER_KIND_DYNAMIC, "dynamic"},
    {USHER_KIND_EXTERNAL, "external"},
};

constexpr Word<usher_class_state_t> kClassStates[] = {
    {USHER_CLASS_COLD, "cold"},       {USHER_CLASS_STARTING, "starting"},
    {USHER_CLASS_READY, "ready"},     {USHER_CLASS_FAILED, "failed"},
    {USHER_CLASS_REFUSED, "refused"}, {USHER_CLASS_REMOVED, "removed"},
};

constexpr Word<usher_endpoint_state_t> kEndpointStates[] = {
    {USHER_ENDPOINT_STARTING, "starting"},
    {USHER_ENDPOINT_READY, "ready"},
    {USHER_ENDPOINT_DRAINING, "draining"},
    {USHER_ENDPOINT_DOWN, "down"},
};

constexpr Word<usher_manager_state_t> kManagerStates[] = {
    {USHER_MANAGER_ABSENT, "absent"},
    {USHER_MANAGER_RUNNING, "running"},
    {USHER_MANAGER_STOPPED, "stopped"},
};

constexpr Word<usher_damage_kind_t> kDamages[] = {
    {USHER_DAMAGED_COUNT, "count"}, {USHER_DAMAGED_CELLS, "cells"},
    {USHER_DAMAGED_LOAD, "load"},   {USHER_DAMAGED_WORKER, "worker"},
    {USHER_DAMAGED_SLOTS, "slots"}, {USHER_DAMAGED_ASKED, "asked"},
    {USHER_DAMAGED_HINT, "hint"},
};

usher_class_limits_t LimitsOf(const Argument &argument);
usher_endpoint_address_t AddressOf(const Argument &argument);

Napi::Object FromRef(Napi::Env env, usher_ref_t ref);
Napi::Object FromClass(Napi::Env env, const usher_class_info_t &info);
Napi::Object FromEndpoint(Napi::Env env, const usher_endpoint_info_t &info);
Napi::Object FromServer(Napi::Env env, const usher_server_info_t &info);
Napi::Object FromDamage(Napi::Env env, const usher_damage_t &damage);
Napi::Object FromLoad(Napi::Env env, const usher_load_t &load);
Napi::Object FromLoadAndTimes(Napi::Env env, const usher_load_t &load);

} // namespace usher

#endif
