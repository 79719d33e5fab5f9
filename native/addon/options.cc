// SPDX-License-Identifier: Apache-2.0
#include "addon/options.h"

#include "addon/arguments.h"
#include "addon/errors.h"
#include "options/options.h"

namespace usher {

namespace {

constexpr Word<usher_scope_t> kScopes[] = {
    {USHER_SCOPE_STATIC, "static"},
    {USHER_SCOPE_EXTERNAL, "external"},
    {USHER_SCOPE_DYNAMIC, "dynamic"},
};

constexpr Word<usher_host_t> kHosts[] = {
    {USHER_HOST_APACHE, "apache"},
    {USHER_HOST_NGINX, "nginx"},
    {USHER_HOST_USHER, "usher"},
};

constexpr Word<usher_option_type_t> kTypes[] = {
    {USHER_TYPE_FLAG, "flag"},     {USHER_TYPE_COUNT, "count"},     {USHER_TYPE_TIME, "time"},
    {USHER_TYPE_SIZE, "size"},     {USHER_TYPE_RATIO, "ratio"},     {USHER_TYPE_TEXT, "text"},
    {USHER_TYPE_PATH, "path"},     {USHER_TYPE_COMMAND, "command"}, {USHER_TYPE_ENV, "env"},
    {USHER_TYPE_HOST, "host"},     {USHER_TYPE_LISTEN, "listen"},   {USHER_TYPE_LIMIT, "limit"},
    {USHER_TYPE_SIGNAL, "signal"}, {USHER_TYPE_CHOICE, "choice"},
};

constexpr size_t kErrorMax = 512;

Napi::Error Invalid(Napi::Env env, const char *error) {
    return MakeError(env, "ERR_USHER_INVALID", error);
}

template <typename Term, size_t count>
Napi::Array TextsOf(Napi::Env env, const Word<Term> (&words)[count], unsigned set) {
    Napi::Array array = Napi::Array::New(env);
    for (const Word<Term> &word : words) {
        if ((set & word.term) != 0) {
            array.Set(array.Length(), word.text);
        }
    }
    return array;
}

Napi::Array SplitAtCommas(Napi::Env env, const std::string &text) {
    Napi::Array array = Napi::Array::New(env);
    size_t begin = 0;
    while (begin < text.size()) {
        const size_t end = std::min(text.find(',', begin), text.size());
        array.Set(array.Length(), text.substr(begin, end - begin));
        begin = end + 1;
    }
    return array;
}

Napi::Object FromOption(Napi::Env env, const usher_option_t &option) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("id", option.id);
    row.Set("name", option.name);
    row.Set("aliases", SplitAtCommas(env, option.aliases));
    row.Set("type", TextOf(kTypes, option.type));
    row.Set("unit", option.unit);
    row.Set("defaultText", option.default_text);
    row.Set("scopes", TextsOf(env, kScopes, option.scopes));
    row.Set("hosts", TextsOf(env, kHosts, option.hosts));
    row.Set("repeatable", Napi::Boolean::New(env, option.repeatable != 0));
    row.Set("doc", option.doc);
    return row;
}

Napi::Value FromValue(Napi::Env env, const usher_option_value_t &value) {
    const double number = static_cast<double>(value.number);
    switch (value.option->type) {
    case USHER_TYPE_FLAG:
        return Napi::Boolean::New(env, true);
    case USHER_TYPE_COUNT:
    case USHER_TYPE_TIME:
    case USHER_TYPE_SIZE:
    case USHER_TYPE_SIGNAL:
        return Napi::Number::New(env, number);
    case USHER_TYPE_RATIO:
        return Napi::Number::New(env, number / 1e6);
    default:
        return Napi::String::New(env, value.text);
    }
}

} // namespace

Napi::Value Options(const Napi::CallbackInfo &info) {
    size_t count = 0;
    const usher_option_t *options = usher_options(&count);
    Napi::Array rows = Napi::Array::New(info.Env(), count);
    for (uint32_t i = 0; i < count; i++) {
        rows.Set(i, FromOption(info.Env(), options[i]));
    }
    return rows;
}

Napi::Value ParseOptions(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const usher_scope_t scope = arguments.OneOf("scope", kScopes);
    const std::vector<std::string> words = arguments.Next("words").Texts();
    const Argument name = arguments.Next("name");
    const std::string class_name = name.IsUndefined() ? "" : name.Text();
    std::vector<const char *> pointers;
    for (const std::string &word : words) {
        pointers.push_back(word.c_str());
    }

    usher_option_values_t values;
    char error[kErrorMax] = "";
    if (usher_options_parse(scope, USHER_HOST_USHER, pointers.data(), pointers.size(), &values,
                            error, sizeof(error)) != 0 ||
        (!name.IsUndefined() && usher_class_check(scope, USHER_HOST_USHER, class_name.c_str(),
                                                  &values, error, sizeof(error)) != 0)) {
        throw Invalid(info.Env(), error);
    }
    Napi::Object object = Napi::Object::New(info.Env());
    for (size_t i = 0; i < values.count; i++) {
        const usher_option_value_t &value = values.values[i];
        const char *id = value.option->id;
        if (!value.option->repeatable) {
            object.Set(id, FromValue(info.Env(), value));
            continue;
        }
        if (!object.Has(id)) {
            object.Set(id, Napi::Array::New(info.Env()));
        }
        Napi::Array list = object.Get(id).As<Napi::Array>();
        list.Set(list.Length(), value.text);
    }
    return object;
}

Napi::Value SplitCommand(const Napi::CallbackInfo &info) {
    const std::string command = Arguments(info).Text("command");
    std::vector<char> buffer(command.size() + 1);
    std::vector<char *> words(command.size() / 2 + 1); // a word and its blank take two bytes
    char error[kErrorMax] = "";
    const int count = usher_command_split(command.c_str(), buffer.data(), buffer.size(),
                                          words.data(), words.size(), error, sizeof(error));
    if (count < 0) {
        throw Invalid(info.Env(), error);
    }
    Napi::Array array = Napi::Array::New(info.Env(), static_cast<size_t>(count));
    for (uint32_t i = 0; i < static_cast<uint32_t>(count); i++) {
        array.Set(i, words[i]);
    }
    return array;
}

void CheckClassName(const Napi::CallbackInfo &info) {
    const std::string name = Arguments(info).Text("name");
    char error[kErrorMax] = "";
    if (usher_class_name_check(name.c_str(), error, sizeof(error)) != 0) {
        throw Invalid(info.Env(), error);
    }
}

void CheckLoopback(const Napi::CallbackInfo &info) {
    const std::string address = Arguments(info).Text("address");
    char error[kErrorMax] = "";
    if (usher_loopback_check(address.c_str(), error, sizeof(error)) != 0) {
        throw Invalid(info.Env(), error);
    }
}

} // namespace usher
