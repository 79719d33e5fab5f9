/* SPDX-License-Identifier: Apache-2.0 */
/* The option table and its validator (options/options.h) as functions of the addon. */
#ifndef USHER_ADDON_OPTIONS_H
#define USHER_ADDON_OPTIONS_H

#include <napi.h>

namespace usher {

Napi::Value Options(const Napi::CallbackInfo &info);
Napi::Value ParseOptions(const Napi::CallbackInfo &info);
Napi::Value SplitCommand(const Napi::CallbackInfo &info);
void CheckClassName(const Napi::CallbackInfo &info);
void CheckLoopback(const Napi::CallbackInfo &info);

} // namespace usher

#endif
