// BPF programs, links and maps, as numbers and byte arrays.
#include "addon.h"
#include "bpf.h"

static int toInt(const Napi::Value &value) {
  return value.As<Napi::Number>().Int32Value();
}

static uint32_t toUint(const Napi::Value &value) {
  return value.As<Napi::Number>().Uint32Value();
}

static uint8_t *toBytes(const Napi::Value &value) {
  return value.As<Napi::Uint8Array>().Data();
}

// loadMesh(): { status, … }
static Napi::Value loadMesh(const Napi::CallbackInfo &info) {
  mesh_fds fds;
  Napi::Object out = Napi::Object::New(info.Env());
  out["status"] = mesh_load(&fds);
  out["pods"] = fds.pods;
  out["own"] = fds.own;
  out["accepted"] = fds.accepted;
  out["counters"] = fds.counters;
  out["origins"] = fds.origins;
  out["entries"] = fds.entries;
  out["listening"] = fds.listening;
  out["connect4"] = fds.connect4;
  out["connect6"] = fds.connect6;
  out["getpeername4"] = fds.getpeername4;
  out["getpeername6"] = fds.getpeername6;
  out["getsockname4"] = fds.getsockname4;
  out["getsockname6"] = fds.getsockname6;
  out["handshake"] = fds.handshake;
  return out;
}

// loadInbound(outboundPort, inboundPort, bound): { status, … }
static Napi::Value loadInbound(const Napi::CallbackInfo &info) {
  inbound_fds fds;
  Napi::Object out = Napi::Object::New(info.Env());
  out["status"] = inbound_load(&fds, uint16_t(toUint(info[0])), uint16_t(toUint(info[1])), toUint(info[2]));
  out["program"] = fds.program;
  out["listener"] = fds.listener;
  out["arrivals"] = fds.arrivals;
  out["ports"] = fds.ports;
  out["older"] = fds.older;
  out["steering"] = fds.steering;
  return out;
}

// attach(program, target, type): link fd
static Napi::Value attach(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), link_create(toInt(info[0]), toInt(info[1]), toUint(info[2])));
}

// createHash(keyBytes, valueBytes, bound): map fd
static Napi::Value createHash(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), hash_create(toUint(info[0]), toUint(info[1]), toUint(info[2])));
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

void exportPrograms(Napi::Env env, Napi::Object exports) {
  exports["loadMesh"] = Napi::Function::New(env, loadMesh);
  exports["loadInbound"] = Napi::Function::New(env, loadInbound);
  exports["attach"] = Napi::Function::New(env, attach);
  exports["createHash"] = Napi::Function::New(env, createHash);
  exports["mapGet"] = Napi::Function::New(env, mapGet);
  exports["mapPut"] = Napi::Function::New(env, mapPut);
  exports["mapRemove"] = Napi::Function::New(env, mapRemove);
}
