// Connections of one thread, driven in batches. All sockets stand in one epoll set, itself watched by the thread's
// loop. A wake-up reads every ready socket into one arena and calls JavaScript once, with a table of what happened;
// JavaScript fills a table of writes, which is sent as the call returns. Nothing is allocated for a connection's bytes
// but a backlog.
//
//   events  [count, (id, kind, a, b) ...]    to JavaScript: a, b by kind
//   writes  [count, (id, offset, length) ...] from JavaScript: offset into `out`, or below zero ~offset into the arena
//   results [count, (id, kind, a) ...]       to JavaScript, of the writes
#pragma once

#include "pump.h"
#include "tls.h"
#include "watch.h"
#include <string>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <vector>

// What an event or a result tells of.
enum Kind : int32_t {
  BYTES = 1,
  END = 2,
  FAILED = 3,
  DRAINED = 4,
  CONNECTED = 5,
  BLOCKED = 6,
  UNWRITABLE = 7,
  SHUT = 8,
  SECURED = 9,
  BROKEN = 10
};

// A read may end before the queue does: an end stands behind, or urgent data, at which recv(2) stops.
constexpr uint32_t EPOLL_BARRED = EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;

// One socket; `turn` tells it from who had its place before.
struct Channel {
  int fd = -1;
  uint32_t turn = 0;
  bool watched = false;    // in the epoll set
  bool reading = false;    // JavaScript wants its bytes
  bool connecting = false; // connect(2) is under way
  bool hungUp = false;     // a short read does not mean an empty queue any more (EPOLL_BARRED)
  bool ended = false;      // FIN was read, or TLS's word of the end
  bool queued = false;     // to be read on
  bool unwritable = false; // a write failed
  std::string backlog;     // what the kernel has not taken
  size_t taken = 0;        // bytes at its beginning that it has taken meanwhile

  std::unique_ptr<PumpSide> side; // of a pump, or null
  std::unique_ptr<Tls> tls;       // or null: its bytes are plain
};

// What one reading of a pump's side has brought.
struct Pulled {
  Kind kind;           // BYTES, or how it ended behind them: END, FAILED, BROKEN
  size_t bytes = 0;    // the application's
  bool isLast = false; // nothing more is there to be read
  size_t taken = 0;    // of the socket, where that differs
  int error = 0;       // of FAILED
};

// What it means that a call which reads has brought no bytes.
Pulled broughtNothing(ssize_t got);

// recv(2), once more where a signal came between.
ssize_t receiveFrom(int fd, uint8_t *to, size_t most);

// Where TLS's bytes stand for a moment: one channel's, then another's.
struct Wire {
  static constexpr size_t IN_BYTES = 128 << 10; // of one recv, at most: more leaves the caches
  std::unique_ptr<uint8_t[]> in;
  std::string out;
};

// What failed on a socket, or 0.
int pendingError(int fd);

class Channels : public Napi::ObjectWrap<Channels>, Watch::Owner {
public:
  static Napi::Function define(Napi::Env env);
  // new Channels(arena, out, events, writes, results, onBatch(), pipes)
  explicit Channels(const Napi::CallbackInfo &info);
  ~Channels() override { release(); }

private:
  // --- places (channels.cc)
  int open();
  bool release();
  int place(int fd);
  Channel *at(int id);
  Channel *at(Place place);
  void leave(int id);
  void freeLeft();
  int watch(int id);

  // --- a wake-up (channels.cc)
  void onReady(int status) override;
  void onThreadEnd() override { release(); }
  void happen(Place place, uint32_t events);
  void receive(Place place);
  void drain(int id);
  void tell(int id, Kind kind, int32_t a, int32_t b);
  void deliver();

  // --- writes (channels.cc)
  void sendAll();
  void sendOne(int id, Channel &channel, const iovec *pieces, int count);
  void result(int id, Kind kind, int32_t a);

  // --- pumps (pump.cc)
  int startPump(int a, int b);
  void leavePump(Channel &channel);
  size_t heldFor(const Channel &channel) const;
  void happenPumped(Place place, uint32_t events);
  void carry(Place from, Place to);
  bool endPumped(Place place);
  Pulled pull(Channel &source, Channel &sink);
  void passOn(int id, size_t length);
  void earn(PumpSide &side, size_t piece);
  bool push(int id);
  void giveUpWriting(int id, int error);
  void dropPiped(PumpSide &side);
  void rest(PumpSide &side);
  void finish(int id);
  void losePump(int id, Kind kind, int error);

  // --- pumps of which a side is TLS's (pump-tls.cc)
  Pulled pullSecure(Channel &source, Channel &sink);
  Pulled decryptPiece(Channel &source, Place place);
  void passOnSecure(int id, size_t length);
  bool sayEnd(int id);

  // --- TLS (channels-tls.cc)
  bool happenSecure(Place place, uint32_t events);
  void handshake(Place place);
  ssize_t receiveStaged(Channel &channel, size_t most);
  void receiveSecure(Place place);
  int sendStaged(Channel &channel);
  void tellSent(int id, const Channel &channel, int error);
  void sendSecure(int id, Channel &channel, const iovec *pieces, int count);
  void resultSent(int id, Channel &channel, int error);

  // --- what JavaScript calls (channels-calls.cc)
  Napi::Value adopt(const Napi::CallbackInfo &info);
  Napi::Value connect(const Napi::CallbackInfo &info);
  Napi::Value read(const Napi::CallbackInfo &info);
  Napi::Value flush(const Napi::CallbackInfo &info);
  Napi::Value shutdown(const Napi::CallbackInfo &info);
  Napi::Value close(const Napi::CallbackInfo &info);
  Napi::Value fd(const Napi::CallbackInfo &info);
  Napi::Value pump(const Napi::CallbackInfo &info);
  Napi::Value received(const Napi::CallbackInfo &info);
  Napi::Value pumped(const Napi::CallbackInfo &info);
  Napi::Value secure(const Napi::CallbackInfo &info);
  Napi::Value notifyClose(const Napi::CallbackInfo &info);
  Napi::Value secured(const Napi::CallbackInfo &info);
  Napi::Value broken(const Napi::CallbackInfo &info);
  Napi::Value stop(const Napi::CallbackInfo &info);
  Napi::Value status(const Napi::CallbackInfo &info);

  Napi::AsyncContext async_;
  Napi::FunctionReference onBatch_;
  std::vector<Napi::ObjectReference> kept_; // the tables' memory
  uint8_t *arena_, *out_;
  size_t arenaBytes_, outBytes_, arenaUsed_ = 0;
  int32_t *events_, *writes_, *results_;
  int32_t eventRows_, writeRows_;
  Watch *watch_ = nullptr; // of the epoll set
  std::vector<Channel> channels_;
  std::vector<int> free_, left_;
  std::vector<Place> again_; // to be read on
  int open_ = 0;
  bool inBatch_ = false;
  int status_ = 0;

  // On its way from one side of a pump to the other: what one recv brings, with a record of TLS's begun before.
  static constexpr size_t PIECE_ROOM = Wire::IN_BYTES + (32 << 10);
  std::unique_ptr<uint8_t[]> piece_;
  Pipes pipes_;

  Wire wire_;
  int shaken_ = 0; // steps of handshakes in this wake-up
};
