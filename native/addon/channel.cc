// SPDX-License-Identifier: Apache-2.0
#include "addon/channel.h"

#include <vector>

#include "addon/arguments.h"
#include "addon/errors.h"
#include "addon/records.h"

namespace usher {

/* While requests queue, every one of them may ring: so often the manager need not look. */
constexpr std::chrono::milliseconds kRest(3);

Napi::Function ChannelWrap::Define(Napi::Env env) {
    return DefineClass(env, "Channel",
                       {
                           InstanceMethod<&ChannelWrap::Close>("close"),
                           InstanceMethod<&ChannelWrap::SetManagerState>("setManagerState"),
                           InstanceMethod<&ChannelWrap::Beat>("beat"),
                           InstanceMethod<&ChannelWrap::Listen>("listen"),
                           InstanceMethod<&ChannelWrap::Rest>("rest"),
                           InstanceMethod<&ChannelWrap::AddClass>("addClass"),
                           InstanceMethod<&ChannelWrap::SetLimits>("setLimits"),
                           InstanceMethod<&ChannelWrap::SetClass>("setClass"),
                           InstanceMethod<&ChannelWrap::SetFull>("setFull"),
                           InstanceMethod<&ChannelWrap::RemoveClass>("removeClass"),
                           InstanceMethod<&ChannelWrap::Classes>("classes"),
                           InstanceMethod<&ChannelWrap::AddEndpoint>("addEndpoint"),
                           InstanceMethod<&ChannelWrap::SetEndpoint>("setEndpoint"),
                           InstanceMethod<&ChannelWrap::RemoveEndpoint>("removeEndpoint"),
                           InstanceMethod<&ChannelWrap::Endpoints>("endpoints"),
                           InstanceMethod<&ChannelWrap::InFlight>("inFlight"),
                           InstanceMethod<&ChannelWrap::Served>("served"),
                           InstanceMethod<&ChannelWrap::Unreached>("unreached"),
                           InstanceMethod<&ChannelWrap::Hung>("hung"),
                           InstanceMethod<&ChannelWrap::AttachServer>("attachServer"),
                           InstanceMethod<&ChannelWrap::DetachServer>("detachServer"),
                           InstanceMethod<&ChannelWrap::Settle>("settle"),
                           InstanceMethod<&ChannelWrap::GenerationLives>("generationLives"),
                           InstanceMethod<&ChannelWrap::DamageOf>("damage"),
                           InstanceMethod<&ChannelWrap::StartRequests>("startRequests"),
                           InstanceMethod<&ChannelWrap::FinishStartRequest>("finishStartRequest"),
                           InstanceMethod<&ChannelWrap::Changed>("changed"),
                           InstanceMethod<&ChannelWrap::LoadOf>("load"),
                           InstanceMethod<&ChannelWrap::LoadAndTimesOf>("loadAndTimes"),
                           InstanceMethod<&ChannelWrap::RepairHints>("repairHints"),
                       });
}

ChannelWrap::ChannelWrap(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ChannelWrap>(info) {
    Arguments arguments(info);
    const std::string runtime_dir = arguments.Text("runtimeDir");
    const Argument files = arguments.Next("files");
    usher_error_t error = {};
    if (files.IsUndefined()) {
        Check(info.Env(), usher_manager_open(runtime_dir.c_str(), &manager_, &error), "Channel",
              error);
        return;
    }
    const int table = files.Property("table").Descriptor();
    const int places = files.Property("places").Descriptor();
    Check(info.Env(),
          usher_manager_open_files(runtime_dir.c_str(), table, places, &manager_, &error),
          "Channel", error);
}

ChannelWrap::~ChannelWrap() {
    if (doorbell_ != nullptr) {
        doorbell_->Stop();
    }
    if (manager_ != nullptr) {
        usher_manager_close(manager_);
    }
}

void ChannelWrap::Close(const Napi::CallbackInfo &) {
    if (manager_ == nullptr) {
        return;
    }
    if (doorbell_ != nullptr) {
        doorbell_->Stop();
        Unref();
    }
    usher_manager_close(manager_);
    manager_ = nullptr;
}

usher_manager_t *ChannelWrap::Manager(Napi::Env env) const {
    if (manager_ == nullptr) {
        throw MakeError(env, "ERR_USHER_CLOSED", "the channel is closed");
    }
    return manager_;
}

template <typename Info, typename Read, typename Convert>
Napi::Value ChannelWrap::List(Napi::Env env, const char *what, uint32_t count, Read read,
                              Convert convert) {
    usher_manager_t *manager = Manager(env);
    Napi::Array array = Napi::Array::New(env);
    for (uint32_t i = 0; i < count; i++) {
        Info record;
        const usher_status_t status = read(manager, i, &record);
        if (status == USHER_NOT_FOUND) {
            continue;
        }
        Check(env, status, what);
        array.Set(array.Length(), convert(env, record));
    }
    return array;
}

// ---- doorbell --------------------------------------------------------------------------------

void ChannelWrap::SetManagerState(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const usher_manager_state_t state = arguments.OneOf("state", kManagerStates);
    const uint32_t pid = arguments.Number("pid");
    usher_manager_set_state(Manager(info.Env()), state, pid);
}

void ChannelWrap::Beat(const Napi::CallbackInfo &info) {
    usher_manager_beat(Manager(info.Env()));
}

void ChannelWrap::Listen(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const uint32_t timeout_ms = arguments.Number("timeoutMs", 1);
    const Napi::Function on_ring = arguments.Next("onRing").Function();
    Manager(info.Env());
    if (doorbell_ != nullptr) {
        throw MakeError(info.Env(), "ERR_USHER_INVALID", "listen: somebody listens already");
    }
    timeout_ms_ = timeout_ms;
    on_ring_ = Napi::Persistent(on_ring);
    doorbell_ = std::make_unique<Waiter>(info.Env(), "usher doorbell", false, *this, kRest);
    Ref(); // until close(): the thread uses this object
}

void ChannelWrap::Rest(const Napi::CallbackInfo &info) {
    const uint32_t rest_ms = Arguments(info).Number("restMs");
    usher_manager_rest(Manager(info.Env()), rest_ms);
}

// Does not touch V8: executed in the doorbell's thread.
void ChannelWrap::Wait() {
    rang_ = usher_manager_wait(manager_, timeout_ms_) == USHER_OK;
}

void ChannelWrap::Interrupt() {
    usher_manager_interrupt(manager_);
}

void ChannelWrap::Deliver(Napi::Env env) {
    const Napi::Value self = Value(); // onRing may close the channel and let go of it
    on_ring_.Call(self, {Napi::Boolean::New(env, rang_)});
}

// ---- classes ---------------------------------------------------------------------------------

Napi::Value ChannelWrap::AddClass(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    usher_class_identity_t identity = {};
    identity.kind = arguments.OneOf("kind", kKinds);
    const std::string key = arguments.Text("key");
    const Argument server = arguments.Next("server");
    if (!server.IsNull()) {
        const std::string name = server.Text();
        identity.server_id = usher_hash(name.data(), name.size());
    }
    const usher_class_limits_t limits = LimitsOf(arguments.Next("limits"));
    identity.key = key.c_str();
    identity.key_length = static_cast<uint32_t>(key.size());

    usher_ref_t ref;
    Check(info.Env(), usher_manager_add_class(Manager(info.Env()), &identity, &limits, &ref),
          "addClass");
    return FromRef(info.Env(), ref);
}

void ChannelWrap::SetLimits(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const usher_ref_t ref = arguments.Ref("ref");
    const usher_class_limits_t limits = LimitsOf(arguments.Next("limits"));
    Check(info.Env(), usher_manager_set_limits(Manager(info.Env()), ref, &limits), "setLimits");
}

void ChannelWrap::SetClass(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const usher_ref_t ref = arguments.Ref("ref");
    const usher_class_state_t state = arguments.OneOf("state", kClassStates);
    const uint32_t verdict_status = arguments.Number("verdictStatus", 0, 599);
    const uint32_t retry_after_s = arguments.Number("retryAfterS");
    const std::string reason = arguments.Text("reason");
    Check(info.Env(),
          usher_manager_set_class(Manager(info.Env()), ref, state, verdict_status, retry_after_s,
                                  reason.c_str()),
          "setClass");
}

void ChannelWrap::SetFull(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const usher_ref_t ref = arguments.Ref("ref");
    const bool is_full = arguments.Flag("isFull");
    Check(info.Env(), usher_manager_set_full(Manager(info.Env()), ref, is_full), "setFull");
}

void ChannelWrap::RemoveClass(const Napi::CallbackInfo &info) {
    const usher_ref_t ref = Arguments(info).Ref("ref");
    Check(info.Env(), usher_manager_remove_class(Manager(info.Env()), ref), "removeClass");
}

Napi::Value ChannelWrap::Classes(const Napi::CallbackInfo &info) {
    return List<usher_class_info_t>(info.Env(), "classes", USHER_CLASSES_MAX, usher_manager_class,
                                    FromClass);
}

// ---- endpoints -------------------------------------------------------------------------------

Napi::Value ChannelWrap::AddEndpoint(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const usher_ref_t class_ref = arguments.Ref("classRef");
    const usher_endpoint_address_t address = AddressOf(arguments.Next("address"));
    const uint32_t concurrency = arguments.Number("concurrency", 1);
    const usher_endpoint_state_t state = arguments.OneOf("state", kEndpointStates);
    const uint32_t pid = arguments.Number("pid");

    usher_ref_t ref;
    Check(info.Env(),
          usher_manager_add_endpoint(Manager(info.Env()), class_ref, &address, concurrency, state,
                                     pid, &ref),
          "addEndpoint");
    return FromRef(info.Env(), ref);
}

void ChannelWrap::SetEndpoint(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const usher_ref_t ref = arguments.Ref("ref");
    const usher_endpoint_state_t state = arguments.OneOf("state", kEndpointStates);
    const uint32_t pid = arguments.Number("pid");
    Check(info.Env(), usher_manager_set_endpoint(Manager(info.Env()), ref, state, pid),
          "setEndpoint");
}

void ChannelWrap::RemoveEndpoint(const Napi::CallbackInfo &info) {
    const usher_ref_t ref = Arguments(info).Ref("ref");
    Check(info.Env(), usher_manager_remove_endpoint(Manager(info.Env()), ref), "removeEndpoint");
}

Napi::Value ChannelWrap::Endpoints(const Napi::CallbackInfo &info) {
    return List<usher_endpoint_info_t>(info.Env(), "endpoints", USHER_ENDPOINTS_MAX,
                                       usher_manager_endpoint, FromEndpoint);
}

Napi::Value ChannelWrap::InFlight(const Napi::CallbackInfo &info) {
    const usher_ref_t ref = Arguments(info).Ref("ref");
    uint32_t in_flight = 0;
    Check(info.Env(), usher_manager_in_flight(Manager(info.Env()), ref, &in_flight), "inFlight");
    return Napi::Number::New(info.Env(), in_flight);
}

Napi::Value ChannelWrap::Served(const Napi::CallbackInfo &info) {
    const usher_ref_t ref = Arguments(info).Ref("ref");
    uint64_t served = 0;
    Check(info.Env(), usher_manager_served(Manager(info.Env()), ref, &served), "served");
    return Napi::Number::New(info.Env(), static_cast<double>(served));
}

Napi::Value ChannelWrap::Unreached(const Napi::CallbackInfo &info) {
    const usher_ref_t ref = Arguments(info).Ref("ref");
    uint32_t unreached = 0;
    Check(info.Env(), usher_manager_unreached(Manager(info.Env()), ref, &unreached), "unreached");
    return Napi::Number::New(info.Env(), unreached);
}

Napi::Value ChannelWrap::Hung(const Napi::CallbackInfo &info) {
    const usher_ref_t ref = Arguments(info).Ref("ref");
    uint32_t count = 0;
    Check(info.Env(), usher_manager_hung(Manager(info.Env()), ref, &count), "hung");
    return Napi::Number::New(info.Env(), count);
}

// ---- servers ---------------------------------------------------------------------------------

Napi::Value ChannelWrap::AttachServer(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const std::string server = arguments.Text("server");
    const Argument live = arguments.Next("live");
    uint32_t handle = 0;
    usher_error_t error = {};
    usher_status_t status;
    if (live.IsText()) {
        status = usher_manager_attach_server(Manager(info.Env()), server.c_str(),
                                             live.Text().c_str(), &handle, &error);
    } else {
        const int cells = live.Property("cells").Descriptor();
        status = usher_manager_attach_files(Manager(info.Env()), server.c_str(), cells,
                                            live.Property("live").Descriptor(), &handle, &error);
    }
    Check(info.Env(), status, "attachServer", error);
    return Napi::Number::New(info.Env(), handle);
}

void ChannelWrap::DetachServer(const Napi::CallbackInfo &info) {
    const uint32_t handle = Arguments(info).Number("handle");
    usher_manager_detach_server(Manager(info.Env()), handle);
}

Napi::Value ChannelWrap::Settle(const Napi::CallbackInfo &info) {
    const uint32_t handle = Arguments(info).Number("handle");
    usher_server_info_t server = {};
    Check(info.Env(), usher_manager_settle(Manager(info.Env()), handle, &server), "settle");
    return FromServer(info.Env(), server);
}

Napi::Value ChannelWrap::DamageOf(const Napi::CallbackInfo &info) {
    const bool of_all = info[0].IsNull();
    const uint32_t handle = of_all ? USHER_NO_SERVER : Arguments(info).Number("handle");
    const usher_damage_t damage = usher_manager_damage(Manager(info.Env()), handle);
    return damage.times == 0 ? info.Env().Null() : FromDamage(info.Env(), damage);
}

Napi::Value ChannelWrap::GenerationLives(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const uint32_t handle = arguments.Number("handle");
    const uint32_t generation = arguments.Number("generation");
    const bool lives = usher_manager_generation_lives(Manager(info.Env()), handle, generation);
    return Napi::Boolean::New(info.Env(), lives);
}

Napi::Value ChannelWrap::StartRequests(const Napi::CallbackInfo &info) {
    const uint32_t handle = Arguments(info).Number("handle");
    usher_manager_t *manager = Manager(info.Env());
    Napi::Array requests = Napi::Array::New(info.Env());
    uint32_t cursor = 0;
    for (;;) {
        uint32_t entry = 0;
        char key[USHER_KEY_MAX];
        uint32_t key_length = 0;
        const usher_status_t status =
            usher_manager_next_start_request(manager, handle, &cursor, &entry, key, &key_length);
        if (status == USHER_NOT_FOUND) {
            return requests;
        }
        Check(info.Env(), status, "startRequests");
        Napi::Object request = Napi::Object::New(info.Env());
        request.Set("entry", entry);
        request.Set("key", Napi::String::New(info.Env(), key, key_length));
        requests.Set(requests.Length(), request);
    }
}

void ChannelWrap::FinishStartRequest(const Napi::CallbackInfo &info) {
    Arguments arguments(info);
    const uint32_t handle = arguments.Number("handle");
    const uint32_t entry = arguments.Number("entry", 0, USHER_START_REQUESTS_MAX - 1);
    usher_manager_finish_start_request(Manager(info.Env()), handle, entry);
}

// ---- load data -------------------------------------------------------------------------------

Napi::Value ChannelWrap::Changed(const Napi::CallbackInfo &info) {
    std::vector<uint32_t> indices(USHER_CLASSES_MAX);
    const uint32_t count =
        usher_manager_changed(Manager(info.Env()), indices.data(), USHER_CLASSES_MAX);
    Napi::Array array = Napi::Array::New(info.Env(), count);
    for (uint32_t i = 0; i < count; i++) {
        array.Set(i, indices[i]);
    }
    return array;
}

Napi::Value ChannelWrap::LoadOf(const Napi::CallbackInfo &info) {
    const usher_ref_t class_ref = Arguments(info).Ref("classRef");
    usher_load_t load = {};
    Check(info.Env(), usher_manager_load(Manager(info.Env()), class_ref, &load), "load");
    return FromLoad(info.Env(), load);
}

Napi::Value ChannelWrap::LoadAndTimesOf(const Napi::CallbackInfo &info) {
    const usher_ref_t class_ref = Arguments(info).Ref("classRef");
    usher_load_t load = {};
    Check(info.Env(), usher_manager_load(Manager(info.Env()), class_ref, &load), "loadAndTimes");
    return FromLoadAndTimes(info.Env(), load);
}

Napi::Value ChannelWrap::RepairHints(const Napi::CallbackInfo &info) {
    const usher_ref_t class_ref = Arguments(info).Ref("classRef");
    return Napi::Number::New(info.Env(),
                             usher_manager_repair_hints(Manager(info.Env()), class_ref));
}

} // namespace usher
