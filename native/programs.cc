// BPF programs, links and maps, as numbers and byte arrays.
#include "addon.h"
#include "bpf.h"
#include <string>
#include <vector>

static int toInt(const Napi::Value &value) {
  return value.As<Napi::Number>().Int32Value();
}

static uint32_t toUint(const Napi::Value &value) {
  return value.As<Napi::Number>().Uint32Value();
}

static uint8_t *toBytes(const Napi::Value &value) {
  return value.As<Napi::Uint8Array>().Data();
}

static size_t lengthOf(const Napi::Value &value) {
  return value.As<Napi::Uint8Array>().ByteLength();
}

static std::string toText(const Napi::Value &value) {
  return value.As<Napi::String>();
}

// loadBtf(bytes): fd
static Napi::Value loadBtf(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), btf_load(toBytes(info[0]), lengthOf(info[0])));
}

// createMap({ name, type, keyBytes, valueBytes, entries, flags, inner, btf, keyType, valueType }): fd
static Napi::Value createMap(const Napi::CallbackInfo &info) {
  Napi::Object from = info[0].As<Napi::Object>();
  std::string name = toText(from.Get("name"));
  map_wish wish{};
  wish.name = name.c_str();
  wish.type = toUint(from.Get("type"));
  wish.key_bytes = toUint(from.Get("keyBytes"));
  wish.value_bytes = toUint(from.Get("valueBytes"));
  wish.entries = toUint(from.Get("entries"));
  wish.flags = toUint(from.Get("flags"));
  wish.inner = toInt(from.Get("inner"));
  wish.btf = toInt(from.Get("btf"));
  wish.key_type = toUint(from.Get("keyType"));
  wish.value_type = toUint(from.Get("valueType"));
  return Napi::Number::New(info.Env(), map_create(&wish));
}

// loadProgram({ name, type, attachType, code, functions, fields, btf }): { status, log }, status = fd; what the
// verifier said is asked for only where it refused
static Napi::Value loadProgram(const Napi::CallbackInfo &info) {
  Napi::Object from = info[0].As<Napi::Object>();
  std::string name = toText(from.Get("name"));
  program_wish wish{};
  wish.name = name.c_str();
  wish.type = toUint(from.Get("type"));
  wish.attach_type = toUint(from.Get("attachType"));
  wish.code = toBytes(from.Get("code"));
  wish.code_bytes = lengthOf(from.Get("code"));
  wish.functions = toBytes(from.Get("functions"));
  wish.functions_bytes = lengthOf(from.Get("functions"));
  wish.fields = toBytes(from.Get("fields"));
  wish.fields_bytes = lengthOf(from.Get("fields"));
  wish.btf = toInt(from.Get("btf"));
  int status = program_load(&wish);
  std::vector<char> log;
  if (status < 0) {
    log.resize(1 << 20);
    wish.log = log.data();
    wish.log_bytes = log.size();
    int again = program_load(&wish);
    // with a log that is too small for all of it the answer is another
    if (again >= 0) status = again;
  }
  Napi::Object out = Napi::Object::New(info.Env());
  out["status"] = status;
  out["log"] = log.empty() ? "" : log.data();
  return out;
}

// attach(program, target, type): link fd
static Napi::Value attach(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), link_create(toInt(info[0]), toInt(info[1]), toUint(info[2])));
}

// replaceProgram(link, program): status
static Napi::Value replaceProgram(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), link_update(toInt(info[0]), toInt(info[1])));
}

// detach(link): status; -EINVAL where the fd is no link's
static Napi::Value detach(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), link_detach(toInt(info[0])));
}

// readLink(link): { status, program, place }; place in decimal
static Napi::Value readLink(const Napi::CallbackInfo &info) {
  link_state state{};
  Napi::Object out = Napi::Object::New(info.Env());
  out["status"] = link_read(toInt(info[0]), &state);
  out["program"] = state.program;
  out["place"] = std::to_string(state.place);
  return out;
}

// pin(fd, path): status
static Napi::Value pin(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), object_pin(toInt(info[0]), toText(info[1]).c_str()));
}

// openPin(path): fd
static Napi::Value openPin(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), object_open(toText(info[0]).c_str()));
}

// readMap(map): { status, id, type, keyBytes, valueBytes, entries }
static Napi::Value readMap(const Napi::CallbackInfo &info) {
  map_state state{};
  Napi::Object out = Napi::Object::New(info.Env());
  out["status"] = map_read(toInt(info[0]), &state);
  out["id"] = state.id;
  out["type"] = state.type;
  out["keyBytes"] = state.key_bytes;
  out["valueBytes"] = state.value_bytes;
  out["entries"] = state.entries;
  return out;
}

// programId(program): id
static Napi::Value programId(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), program_id(toInt(info[0])));
}

// programName(id): name, '' where it is gone
static Napi::Value programName(const Napi::CallbackInfo &info) {
  char name[17] = "";
  program_name(toUint(info[0]), name);
  return Napi::String::New(info.Env(), name);
}

// attachedAt(cgroup, type, ids: Uint32Array): how many; fills ids
static Napi::Value attachedAt(const Napi::CallbackInfo &info) {
  Napi::Uint32Array ids = info[2].As<Napi::Uint32Array>();
  int status = attached(toInt(info[0]), toUint(info[1]), ids.Data(), uint32_t(ids.ElementLength()));
  return Napi::Number::New(info.Env(), status);
}

// mapGet(map, key, value): status; fills value
static Napi::Value mapGet(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), map_get(toInt(info[0]), toBytes(info[1]), toBytes(info[2])));
}

// mapPut(map, key, value): status
static Napi::Value mapPut(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), map_put(toInt(info[0]), toBytes(info[1]), toBytes(info[2])));
}

// mapRemove(map, key): status
static Napi::Value mapRemove(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), map_remove(toInt(info[0]), toBytes(info[1])));
}

// mapList(map, keys, values, most): how many; fills keys and values
static Napi::Value mapList(const Napi::CallbackInfo &info) {
  int status = map_list(toInt(info[0]), toBytes(info[1]), toBytes(info[2]), toUint(info[3]));
  return Napi::Number::New(info.Env(), status);
}

void exportPrograms(Napi::Env env, Napi::Object exports) {
  exports["loadBtf"] = Napi::Function::New(env, loadBtf);
  exports["createMap"] = Napi::Function::New(env, createMap);
  exports["loadProgram"] = Napi::Function::New(env, loadProgram);
  exports["attach"] = Napi::Function::New(env, attach);
  exports["replaceProgram"] = Napi::Function::New(env, replaceProgram);
  exports["detach"] = Napi::Function::New(env, detach);
  exports["readLink"] = Napi::Function::New(env, readLink);
  exports["pin"] = Napi::Function::New(env, pin);
  exports["openPin"] = Napi::Function::New(env, openPin);
  exports["readMap"] = Napi::Function::New(env, readMap);
  exports["programId"] = Napi::Function::New(env, programId);
  exports["programName"] = Napi::Function::New(env, programName);
  exports["attachedAt"] = Napi::Function::New(env, attachedAt);
  exports["mapGet"] = Napi::Function::New(env, mapGet);
  exports["mapPut"] = Napi::Function::New(env, mapPut);
  exports["mapRemove"] = Napi::Function::New(env, mapRemove);
  exports["mapList"] = Napi::Function::New(env, mapList);
}
