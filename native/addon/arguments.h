/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments of one call, read in order and checked: a bad one is a TypeError that names it and
 * says what is expected. Used by every method of the addon.
 *
 *     Arguments arguments(info);
 *     const usher_ref_t ref = arguments.Ref("ref");
 *     const std::string reason = arguments.Text("reason");
 */
#ifndef USHER_ADDON_ARGUMENTS_H
#define USHER_ADDON_ARGUMENTS_H

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "channel/channel.h"

namespace usher {

/* The two spellings of one term: C's number and TypeScript's string. */
template <typename Term> struct Word {
    Term term;
    const char *text;
};

/* A value and the name it has in the error text: "address.port". */
class Argument {
  public:
    Argument(Napi::Value value, std::string name) : value_(value), name_(std::move(name)) {
    }

    bool IsNull() const {
        return value_.IsNull();
    }

    bool IsUndefined() const {
        return value_.IsUndefined();
    }

    bool IsText() const {
        return value_.IsString();
    }

    int Descriptor() const {
        return static_cast<int>(Number(0, std::numeric_limits<int>::max()));
    }

    /* What C takes as a string: a NUL in it would cut it. */
    std::string Text() const {
        if (value_.IsString()) {
            std::string text = value_.As<Napi::String>().Utf8Value();
            if (text.find('\0') == std::string::npos) {
                return text;
            }
        }
        throw Expected("a string without NUL");
    }

    bool Flag() const {
        if (value_.IsBoolean()) {
            return value_.As<Napi::Boolean>().Value();
        }
        throw Expected("true or false");
    }

    uint32_t Number(uint32_t minimum = 0,
                    uint32_t maximum = std::numeric_limits<uint32_t>::max()) const {
        if (value_.IsNumber()) {
            const double number = value_.As<Napi::Number>().DoubleValue();
            if (number >= minimum && number <= maximum && std::floor(number) == number) {
                return static_cast<uint32_t>(number);
            }
        }
        throw Expected("a whole number from " + std::to_string(minimum) + " to " +
                       std::to_string(maximum));
    }

    template <typename Term, size_t count> Term OneOf(const Word<Term> (&words)[count]) const {
        const std::string text = value_.IsString() ? value_.As<Napi::String>().Utf8Value() : "";
        std::string expected = "one of";
        for (const Word<Term> &word : words) {
            if (text == word.text) {
                return word.term;
            }
            expected += std::string(" ") + word.text;
        }
        throw Expected(expected);
    }

    Argument Property(const char *key) const {
        if (!value_.IsObject()) {
            throw Expected("an object");
        }
        return Argument(value_.As<Napi::Object>().Get(key), name_ + "." + key);
    }

    usher_ref_t Ref() const {
        usher_ref_t ref;
        ref.index = Property("index").Number();
        ref.generation = Property("generation").Number();
        return ref;
    }

    std::vector<std::string> Texts() const {
        if (!value_.IsArray()) {
            throw Expected("an array of strings");
        }
        const Napi::Array array = value_.As<Napi::Array>();
        std::vector<std::string> texts;
        for (uint32_t i = 0; i < array.Length(); i++) {
            texts.push_back(Argument(array.Get(i), name_ + "[" + std::to_string(i) + "]").Text());
        }
        return texts;
    }

    Napi::Function Function() const {
        if (!value_.IsFunction()) {
            throw Expected("a function");
        }
        return value_.As<Napi::Function>();
    }

    Napi::Buffer<uint8_t> Bytes(size_t maximum) const {
        if (value_.IsBuffer()) {
            const auto buffer = value_.As<Napi::Buffer<uint8_t>>();
            if (buffer.Length() > 0 && buffer.Length() <= maximum) {
                return buffer;
            }
        }
        throw Expected("a Buffer of 1 to " + std::to_string(maximum) + " bytes");
    }

    Napi::TypeError Expected(const std::string &what) const {
        return Napi::TypeError::New(value_.Env(), name_ + ": expected " + what);
    }

  private:
    Napi::Value value_;
    std::string name_;
};

class Arguments {
  public:
    explicit Arguments(const Napi::CallbackInfo &info) : info_(info) {
    }

    Argument Next(const char *name) {
        return Argument(info_[next_++], name);
    }

    std::string Text(const char *name) {
        return Next(name).Text();
    }

    uint32_t Number(const char *name, uint32_t minimum = 0,
                    uint32_t maximum = std::numeric_limits<uint32_t>::max()) {
        return Next(name).Number(minimum, maximum);
    }

    bool Flag(const char *name) {
        return Next(name).Flag();
    }

    usher_ref_t Ref(const char *name) {
        return Next(name).Ref();
    }

    template <typename Term, size_t count>
    Term OneOf(const char *name, const Word<Term> (&words)[count]) {
        return Next(name).OneOf(words);
    }

  private:
    const Napi::CallbackInfo &info_;
    size_t next_ = 0;
};

template <typename Term, size_t count>
const char *TextOf(const Word<Term> (&words)[count], Term term) {
    for (const Word<Term> &word : words) {
        if (word.term == term) {
            return word.text;
        }
    }
    return "unknown";
}

} // namespace usher

#endif
