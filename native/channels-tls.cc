// Channels whose bytes are TLS's: what is received is decrypted into the arena, and what JavaScript writes is encrypted
// into one piece that is then sent.
#include "channels.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace {

constexpr size_t RECEIVED_BYTES = 64 << 10;                   // of one recv
constexpr size_t PLAIN_BYTES = RECEIVED_BYTES + (32 << 10);   // that come of it, with a record begun before
constexpr size_t RECORD_BYTES = 16 << 10;                     // of a record, at most
constexpr size_t STAGED_BYTES = 256 << 10;                    // that are encrypted before they are sent
constexpr size_t ENCRYPTED_BYTES = STAGED_BYTES - (64 << 10); // at once
constexpr int TURNS_MOST = 4;       // of one event's handshake: each may tell of something, and there is room for eight
constexpr int HANDSHAKES_MOST = 32; // steps of one wake-up, half a millisecond each: then others have their turn

std::string textOf(const Napi::Value &value) {
  return value.As<Napi::String>().Utf8Value();
}

std::string bytesOf(const Napi::Value &value) {
  Napi::Uint8Array bytes = value.As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char *>(bytes.Data()), bytes.ByteLength());
}

} // namespace

// --- a wake-up

// Whether this is all that the event means.
bool Channels::happenSecure(Place place, uint32_t events) {
  Channel *channel = at(place);
  if (channel->tls->awaitsHello() && (events & (EPOLLRDHUP | EPOLLERR)) == EPOLLRDHUP) {
    // the client has given up, for want of an answer as a rule: one would be work for nobody, and keep others waiting
    channel->tls->cut();
    tell(place.id, BROKEN, 0, 0);
    return true;
  }
  if (channel->tls->handshaking()) {
    if (shaken_++ < HANDSHAKES_MOST)
      handshake(place);
    else
      watch(place.id); // its edge comes once more
    return true;
  }
  // what the handshake left gives no edge of its own: any will do, and the socket is read behind it
  if (!channel->reading || channel->queued || !channel->tls->hasRest()) return false;
  receive(place);
  return true;
}

void Channels::handshake(Place place) {
  Channel &channel = *at(place); // nothing here calls JavaScript
  Tls &tls = *channel.tls;
  for (int turn = 1;; turn++) {
    Tls::Step step = tls.handshake();
    tellSent(place.id, channel, sendStaged(channel));
    if (step == Tls::Step::DONE) {
      tls.keepRest();
      return tell(place.id, SECURED, 0, 0);
    }
    if (step == Tls::Step::BROKEN) return tell(place.id, BROKEN, 0, 0);
    if (turn == TURNS_MOST) {
      watch(place.id); // others have their turn: its edge comes once more
      return;
    }
    ssize_t got = receiveStaged(channel, RECEIVED_BYTES);
    if (got > 0) {
      tls.feed(wire_.in.get(), size_t(got));
    } else if (got == 0) {
      tls.cut();
      return tell(place.id, BROKEN, 0, 0);
    } else {
      if (errno != EAGAIN && errno != EWOULDBLOCK) tell(place.id, FAILED, errno, 0);
      return;
    }
  }
}

ssize_t Channels::receiveStaged(Channel &channel, size_t most) {
  if (!wire_.in) wire_.in.reset(new uint8_t[Wire::IN_BYTES]);
  return receiveFrom(channel.fd, wire_.in.get(), most);
}

// Reads once, as `receive` does.
void Channels::receiveSecure(Place place) {
  if (arenaBytes_ - arenaUsed_ < PLAIN_BYTES) deliver();
  Channel *channel = at(place);
  if (!channel || !channel->reading) return;
  Tls &tls = *channel->tls;
  bool mayLeave = true; // something that is read when JavaScript has had this
  if (!tls.hasRest()) {
    ssize_t got = receiveStaged(*channel, RECEIVED_BYTES);
    if (got < 0) {
      if (errno != EAGAIN && errno != EWOULDBLOCK) tell(place.id, FAILED, errno, 0);
      return;
    }
    if (got == 0) {
      tls.cut();
      channel->reading = false;
      return tell(place.id, BROKEN, 0, 0);
    }
    tls.feed(wire_.in.get(), size_t(got));
    mayLeave = size_t(got) == RECEIVED_BYTES || channel->hungUp;
  }
  size_t got = 0;
  Tls::Step step = tls.read(arena_ + arenaUsed_, arenaBytes_ - arenaUsed_, got);
  tls.keepRest();
  if (got > 0) tell(place.id, BYTES, int32_t(arenaUsed_), int32_t(got));
  arenaUsed_ += got;
  size_t answer = wire_.out.size();
  if (answer > 0) {
    tellSent(place.id, *channel, sendStaged(*channel));
    if (step != Tls::Step::BROKEN && tls.answered(answer, channel->backlog.empty()) == Tls::Step::BROKEN)
      step = Tls::Step::BROKEN;
  }
  if (step == Tls::Step::ENDED || step == Tls::Step::BROKEN) {
    channel->ended = step == Tls::Step::ENDED;
    channel->reading = false;
    return tell(place.id, channel->ended ? END : BROKEN, 0, 0);
  }
  if (!mayLeave && !tls.hasRest()) return;
  channel->queued = true;
  again_.push_back(place);
}

// --- writes

// Sends what was encrypted; the answer is errno, or 0. What the socket does not take becomes its backlog.
int Channels::sendStaged(Channel &channel) {
  std::string &out = wire_.out;
  ssize_t sent = 0;
  if (!out.empty() && !channel.unwritable && channel.backlog.empty()) {
    do
      sent = send(channel.fd, out.data(), out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
      int error = errno;
      channel.unwritable = true;
      out.clear();
      return error;
    }
  }
  if (!channel.unwritable) channel.backlog.append(out, size_t(std::max<ssize_t>(sent, 0)));
  out.clear();
  return 0;
}

void Channels::tellSent(int id, const Channel &channel, int error) {
  if (error != 0)
    tell(id, UNWRITABLE, error, 0);
  else if (!channel.backlog.empty())
    tell(id, BLOCKED, int32_t(channel.backlog.size() - channel.taken), 0);
}

// Small pieces share records, and all that one event wrote is one piece for the kernel.
void Channels::sendSecure(int id, Channel &channel, const iovec *pieces, int count) {
  uint8_t gathered[RECORD_BYTES];
  size_t length = 0;
  int error = 0;
  auto encrypt = [&](const uint8_t *bytes, size_t size) {
    for (size_t at = 0, part; at < size && error == 0; at += part) {
      part = std::min(size - at, ENCRYPTED_BYTES);
      if (!channel.tls->write(bytes + at, part)) error = EPIPE;
      if (wire_.out.size() >= ENCRYPTED_BYTES && error == 0) error = sendStaged(channel);
    }
  };
  for (int i = 0; i < count; i++) {
    const uint8_t *bytes = static_cast<const uint8_t *>(pieces[i].iov_base);
    size_t size = pieces[i].iov_len;
    if (length + size > RECORD_BYTES) {
      encrypt(gathered, length);
      length = 0;
    }
    if (size > RECORD_BYTES || count == 1) {
      encrypt(bytes, size);
    } else {
      memcpy(gathered + length, bytes, size);
      length += size;
    }
  }
  encrypt(gathered, length);
  int unsent = sendStaged(channel);
  resultSent(id, channel, error != 0 ? error : unsent);
}

void Channels::resultSent(int id, Channel &channel, int error) {
  if (error != 0) {
    channel.unwritable = true;
    result(id, UNWRITABLE, error);
  } else if (!channel.backlog.empty()) {
    result(id, BLOCKED, int32_t(channel.backlog.size() - channel.taken));
  }
}

// --- what JavaScript calls

// secure(id, credentials, {isServer, mutual, alpn, serverName, session, ahead}): status. SECURED or BROKEN follows.
Napi::Value Channels::secure(const Napi::CallbackInfo &info) {
  int id = info[0].As<Napi::Number>().Int32Value();
  Channel *channel = at(id);
  Napi::Object wish = info[2].As<Napi::Object>();
  TlsCredentials *credentials = TlsCredentials::Unwrap(info[1].As<Napi::Object>());
  int status = channel ? -EALREADY : -EBADF;
  if (channel && !channel->tls) {
    channel->tls = Tls::open(*credentials,
                             {wish.Get("isServer").As<Napi::Boolean>(), wish.Get("mutual").As<Napi::Boolean>(),
                              bytesOf(wish.Get("alpn")), textOf(wish.Get("serverName")), textOf(wish.Get("session")),
                              bytesOf(wish.Get("ahead"))},
                             wire_.out);
    status = channel->tls ? watch(id) : -EINVAL;
  }
  return Napi::Number::New(info.Env(), status);
}

// notifyClose(id): how many results. The peer is told that nothing more will be written.
Napi::Value Channels::notifyClose(const Napi::CallbackInfo &info) {
  int id = info[0].As<Napi::Number>().Int32Value();
  Channel *channel = at(id);
  if (channel && channel->tls && !channel->unwritable) {
    channel->tls->notifyClose();
    resultSent(id, *channel, sendStaged(*channel));
  }
  return Napi::Number::New(info.Env(), results_[0]);
}

// secured(id): Tls::describe, or undefined.
Napi::Value Channels::secured(const Napi::CallbackInfo &info) {
  Channel *channel = at(info[0].As<Napi::Number>().Int32Value());
  if (!channel || !channel->tls) return info.Env().Undefined();
  return channel->tls->describe(info.Env());
}

// broken(id): {kind, text, verify} of its TlsFault, or undefined.
Napi::Value Channels::broken(const Napi::CallbackInfo &info) {
  Channel *channel = at(info[0].As<Napi::Number>().Int32Value());
  if (!channel || !channel->tls) return info.Env().Undefined();
  const TlsFault &fault = channel->tls->fault();
  Napi::Object told = Napi::Object::New(info.Env());
  told.Set("kind", int(fault.kind));
  told.Set("text", fault.text);
  told.Set("verify", double(fault.verify));
  return told;
}
