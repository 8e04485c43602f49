// What JavaScript may ask of its channels.
#include "channels.h"
#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

Napi::Value number(const Napi::CallbackInfo &info, int value) {
  return Napi::Number::New(info.Env(), value);
}

int toInt(const Napi::Value &value) {
  return value.As<Napi::Number>().Int32Value();
}

int closeWith(int fd, int status) {
  ::close(fd);
  return status;
}

void prepare(int fd) {
  int on = 1, idleSeconds = 60;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idleSeconds, sizeof(idleSeconds));
}

} // namespace

Napi::Function Channels::define(Napi::Env env) {
  return DefineClass(env, "Channels",
                     {InstanceMethod<&Channels::adopt>("adopt"), InstanceMethod<&Channels::connect>("connect"),
                      InstanceMethod<&Channels::read>("read"), InstanceMethod<&Channels::flush>("flush"),
                      InstanceMethod<&Channels::shutdown>("shutdown"), InstanceMethod<&Channels::close>("close"),
                      InstanceMethod<&Channels::fd>("fd"), InstanceMethod<&Channels::pump>("pump"),
                      InstanceMethod<&Channels::received>("received"), InstanceMethod<&Channels::pumped>("pumped"),
                      InstanceMethod<&Channels::secure>("secure"),
                      InstanceMethod<&Channels::notifyClose>("notifyClose"),
                      InstanceMethod<&Channels::secured>("secured"), InstanceMethod<&Channels::broken>("broken"),
                      InstanceMethod<&Channels::stop>("stop"), InstanceAccessor<&Channels::status>("status")});
}

// adopt(fd): id. A connected socket, not read yet.
Napi::Value Channels::adopt(const Napi::CallbackInfo &info) {
  int fd = toInt(info[0]);
  prepare(fd);
  return number(info, place(fd));
}

// connect(fd, ip, port): id, or -errno where it failed at once; the fd is closed then.
Napi::Value Channels::connect(const Napi::CallbackInfo &info) {
  int fd = toInt(info[0]);
  std::string ip = info[1].As<Napi::String>();
  uint16_t port = htons(uint16_t(toInt(info[2])));
  sockaddr_in four{AF_INET, port, {}, {}};
  sockaddr_in6 six{AF_INET6, port, 0, {}, 0};
  bool isFour = inet_pton(AF_INET, ip.c_str(), &four.sin_addr) == 1;
  if (!isFour && inet_pton(AF_INET6, ip.c_str(), &six.sin6_addr) != 1) return number(info, closeWith(fd, -EINVAL));
  prepare(fd);
  int status = isFour ? ::connect(fd, reinterpret_cast<sockaddr *>(&four), sizeof(four))
                      : ::connect(fd, reinterpret_cast<sockaddr *>(&six), sizeof(six));
  if (status < 0 && errno != EINPROGRESS) return number(info, closeWith(fd, -errno));
  int id = place(fd);
  if (id < 0) return number(info, closeWith(fd, id));
  channels_[id].connecting = true; // where it is connected already, the set tells so at once
  status = watch(id);
  if (status < 0) leave(id);
  return number(info, status < 0 ? status : id);
}

// read(id, wanted): status. Nothing more is told of what arrives, or all of it from now on.
Napi::Value Channels::read(const Napi::CallbackInfo &info) {
  int id = toInt(info[0]);
  Channel *channel = at(id);
  if (!channel || channel->ended) return number(info, 0);
  bool wanted = info[1].As<Napi::Boolean>();
  if (channel->reading == wanted) return number(info, 0);
  channel->reading = wanted;
  return number(info, wanted ? watch(id) : 0);
}

// flush(): how many results. Sends what has been written by now.
Napi::Value Channels::flush(const Napi::CallbackInfo &info) {
  if (watch_) {
    sendAll();
    if (!inBatch_) freeLeft();
  }
  return number(info, results_[0]);
}

// shutdown(id): status
Napi::Value Channels::shutdown(const Napi::CallbackInfo &info) {
  Channel *channel = at(toInt(info[0]));
  if (!channel) return number(info, 0);
  return number(info, ::shutdown(channel->fd, SHUT_WR) < 0 ? -errno : 0);
}

// close(id, reset): it is gone; with `reset` by RST.
Napi::Value Channels::close(const Napi::CallbackInfo &info) {
  int id = toInt(info[0]);
  Channel *channel = at(id);
  if (!channel) return info.Env().Undefined();
  if (info[1].As<Napi::Boolean>()) {
    linger at_once{1, 0};
    setsockopt(channel->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  }
  leave(id);
  return info.Env().Undefined();
}

// fd(id): for what other parts can tell of a socket; -1 where it is gone.
Napi::Value Channels::fd(const Napi::CallbackInfo &info) {
  Channel *channel = at(toInt(info[0]));
  return number(info, channel ? channel->fd : -1);
}

// pump(a, b): status. From now on what one receives the other sends; END, SHUT and what is lost are told, bytes are
// not.
Napi::Value Channels::pump(const Napi::CallbackInfo &info) {
  return number(info, startPump(toInt(info[0]), toInt(info[1])));
}

// received(id): how many bytes a pump has read from it.
Napi::Value Channels::received(const Napi::CallbackInfo &info) {
  Channel *channel = at(toInt(info[0]));
  return Napi::Number::New(info.Env(), channel && channel->side ? double(channel->side->received) : 0);
}

// pumped(from, rows [count, (id, received, held) ...]): where to go on, or -1. Sides of pumps of which that has changed
// since it was last asked: what was read from each in all, and what is held for it.
Napi::Value Channels::pumped(const Napi::CallbackInfo &info) {
  Napi::Float64Array rows = info[1].As<Napi::Float64Array>();
  size_t most = (rows.ElementLength() - 1) / 3, count = 0, id = size_t(toInt(info[0]));
  for (; id < channels_.size() && count < most; id++) {
    PumpSide *side = channels_[id].side.get();
    if (!side) continue;
    size_t held = heldFor(channels_[id]);
    if (side->received == side->receivedTold && held == side->heldTold) continue;
    side->receivedTold = side->received;
    side->heldTold = held;
    double *row = rows.Data() + 1 + 3 * count++;
    row[0] = double(id);
    row[1] = double(side->received);
    row[2] = double(held);
  }
  rows.Data()[0] = double(count);
  return number(info, id < channels_.size() ? int(id) : -1);
}

// stop(): closes all.
Napi::Value Channels::stop(const Napi::CallbackInfo &info) {
  if (release()) Unref();
  return info.Env().Undefined();
}

Napi::Value Channels::status(const Napi::CallbackInfo &info) {
  return number(info, status_);
}

void exportChannels(Napi::Env env, Napi::Object exports) {
  exports.Set("Channels", Channels::define(env));
}
