// Connections of one thread, driven in batches. All sockets stand in one epoll set, itself watched by the thread's
// loop. A wake-up reads every ready socket into one arena and calls JavaScript once, with a table of what happened;
// JavaScript fills a table of writes, which is sent as the call returns. Nothing is allocated for a connection's bytes
// but a backlog.
//
//   events  [count, (id, kind, a, b) ...]    to JavaScript: a, b by kind
//   writes  [count, (id, offset, length) ...] from JavaScript: offset into `out`, or below zero ~offset into the arena
//   results [count, (id, kind, a) ...]       to JavaScript, of the writes
#include "addon.h"
#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>
#include <vector>

namespace {

enum Kind : int32_t { BYTES = 1, END = 2, FAILED = 3, DRAINED = 4, CONNECTED = 5, BLOCKED = 6, UNWRITABLE = 7 };

constexpr int READY_MOST = 256;         // sockets of one epoll_wait
constexpr size_t READ_BYTES = 64 << 10; // of one recv: below it, large bodies cost visibly more
constexpr int ROUNDS_MOST = 8;          // of one wake-up: then timers have their turn
constexpr int PIECES_MOST = 16;         // of one send
constexpr int ROWS_MOST = 8;            // that one event of a socket makes

// One socket; `turn` tells it from who had its place before.
struct Channel {
  int fd = -1;
  uint32_t turn = 0;
  bool watched = false;    // in the epoll set
  bool reading = false;    // JavaScript wants its bytes
  bool connecting = false; // connect(2) is under way
  bool hungUp = false;     // the kernel has said that an end is near: read on until it shows
  bool ended = false;      // FIN was read
  bool queued = false;     // to be read on
  bool unwritable = false; // a write failed
  std::string backlog;     // what the kernel has not taken
  size_t taken = 0;        // bytes at its beginning that it has taken meanwhile
};

// A socket's place, as long as it is there.
struct Place {
  int id;
  uint32_t turn;
};

class Channels;

// The part that libuv holds. It outlives the JavaScript object until uv_close has called back.
struct Watch {
  uv_poll_t handle;
  int set;
  Channels *channels; // null once stopped
  napi_async_cleanup_hook_handle hook;
};

class Channels : public Napi::ObjectWrap<Channels> {
public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Channels",
                       {InstanceMethod<&Channels::adopt>("adopt"), InstanceMethod<&Channels::connect>("connect"),
                        InstanceMethod<&Channels::read>("read"), InstanceMethod<&Channels::flush>("flush"),
                        InstanceMethod<&Channels::shutdown>("shutdown"), InstanceMethod<&Channels::close>("close"),
                        InstanceMethod<&Channels::fd>("fd"), InstanceMethod<&Channels::stop>("stop"),
                        InstanceAccessor<&Channels::status>("status")});
  }

  // new Channels(arena, out, events, writes, results, onBatch())
  explicit Channels(const Napi::CallbackInfo &info)
      : Napi::ObjectWrap<Channels>(info), async_(info.Env(), "weft:channels"),
        onBatch_(Napi::Persistent(info[5].As<Napi::Function>())) {
    for (int i = 0; i < 5; i++)
      kept_.push_back(Napi::Persistent(info[i].As<Napi::Object>()));
    Napi::Uint8Array arena = info[0].As<Napi::Uint8Array>(), out = info[1].As<Napi::Uint8Array>();
    arena_ = arena.Data();
    arenaBytes_ = arena.ByteLength();
    out_ = out.Data();
    outBytes_ = out.ByteLength();
    Napi::Int32Array events = info[2].As<Napi::Int32Array>();
    events_ = events.Data();
    eventRows_ = (events.ElementLength() - 1) / 4;
    Napi::Int32Array writes = info[3].As<Napi::Int32Array>();
    writes_ = writes.Data();
    writeRows_ = (writes.ElementLength() - 1) / 3;
    results_ = info[4].As<Napi::Int32Array>().Data(); // as many rows as writes
    status_ = open();
  }

  ~Channels() override { release(); }

private:
  int open() {
    uv_loop_t *loop = nullptr;
    if (napi_get_uv_event_loop(Env(), &loop) != napi_ok) return -EINVAL;
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0) return -errno;
    Watch *watch = new Watch{};
    int status = uv_poll_init(loop, &watch->handle, set);
    if (status == 0) status = uv_poll_start(&watch->handle, UV_READABLE, onReady);
    if (status < 0) {
      ::close(set);
      delete watch;
      return status;
    }
    uv_unref(reinterpret_cast<uv_handle_t *>(&watch->handle)); // connections keep the loop alive, not this
    watch->set = set;
    watch->channels = this;
    // A worker that ends runs this; the handle has to leave its loop before the loop goes.
    napi_add_async_cleanup_hook(Env(), onEnvironmentEnd, watch, &watch->hook);
    watch_ = watch;
    Ref(); // not collected while it is open, even if nobody holds it
    return 0;
  }

  static void onEnvironmentEnd(napi_async_cleanup_hook_handle, void *arg) {
    Watch *watch = static_cast<Watch *>(arg);
    if (watch->channels) watch->channels->release();
  }

  // Closes every socket, and hands the set back to libuv to be closed. Safe to call twice.
  bool release() {
    if (!watch_) return false;
    Watch *watch = watch_;
    watch_ = nullptr;
    watch->channels = nullptr;
    for (Channel &channel : channels_)
      if (channel.fd >= 0) ::close(channel.fd);
    channels_.clear();
    uv_close(reinterpret_cast<uv_handle_t *>(&watch->handle), [](uv_handle_t *handle) {
      Watch *closed = reinterpret_cast<Watch *>(handle);
      ::close(closed->set);
      napi_remove_async_cleanup_hook(closed->hook);
      delete closed;
    });
    return true;
  }

  // --- places

  int place(int fd) {
    if (!watch_) return -ECANCELED;
    if (!inBatch_ && writes_[0] == 0) freeLeft();
    int id;
    if (free_.empty()) {
      id = int(channels_.size());
      channels_.emplace_back();
    } else {
      id = free_.back();
      free_.pop_back();
    }
    uint32_t turn = channels_[id].turn + 1;
    channels_[id] = Channel{};
    channels_[id].fd = fd;
    channels_[id].turn = turn;
    if (open_++ == 0) uv_ref(reinterpret_cast<uv_handle_t *>(&watch_->handle));
    return id;
  }

  Channel *at(Place place) {
    Channel *channel = at(place.id);
    return channel && channel->turn == place.turn ? channel : nullptr;
  }

  Channel *at(int id) {
    if (id < 0 || size_t(id) >= channels_.size() || channels_[id].fd < 0) return nullptr;
    return &channels_[id];
  }

  // Its place is not another's while the tables may still name it.
  void leave(int id) {
    Channel &channel = channels_[id];
    ::close(channel.fd); // leaves the epoll set with it
    channel.fd = -1;
    channel.backlog = std::string();
    left_.push_back(id);
    if (--open_ == 0) uv_unref(reinterpret_cast<uv_handle_t *>(&watch_->handle));
  }

  void freeLeft() {
    free_.insert(free_.end(), left_.begin(), left_.end());
    left_.clear();
  }

  // Into the epoll set, or once more told of all that is ready: what came while nobody read gave its edge then.
  int watch(int id) {
    Channel &channel = channels_[id];
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = uint64_t(channel.turn) << 32 | uint32_t(id);
    if (epoll_ctl(watch_->set, channel.watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, channel.fd, &event) < 0) return -errno;
    channel.watched = true;
    return 0;
  }

  // --- a wake-up

  static void onReady(uv_poll_t *handle, int, int) {
    Watch *watch = reinterpret_cast<Watch *>(handle);
    if (watch->channels) watch->channels->wake();
  }

  void wake() {
    Napi::HandleScope scope(Env());
    epoll_event ready[READY_MOST];
    bool more = true; // there may be others that are ready
    for (int round = 0; round < ROUNDS_MOST && watch_; round++) {
      std::vector<Place> again;
      again.swap(again_);
      for (const Place &place : again) {
        if (Channel *channel = at(place)) channel->queued = false;
        receive(place);
      }
      int count = more ? epoll_wait(watch_->set, ready, READY_MOST, 0) : 0;
      for (int i = 0; i < count && watch_; i++)
        happen({int(uint32_t(ready[i].data.u64)), uint32_t(ready[i].data.u64 >> 32)}, ready[i].events);
      deliver();
      more = count > 0;
      if (!more && again_.empty()) return;
    }
    // others have waited for long enough: the edges are asked for again
    for (const Place &place : again_)
      if (Channel *channel = at(place)) {
        channel->queued = false;
        watch(place.id);
      }
    again_.clear();
  }

  void happen(Place place, uint32_t events) {
    if (eventRows_ - events_[0] < ROWS_MOST) deliver();
    Channel *channel = at(place);
    if (!channel) return;
    int id = place.id;
    if (channel->connecting) {
      if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
      int error = pendingError(channel->fd);
      channel->connecting = false;
      tell(id, error == 0 ? CONNECTED : FAILED, error, 0);
      return; // it is read once it is resumed
    }
    if (events & EPOLLOUT && !channel->backlog.empty()) drain(id);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) channel->hungUp = true;
    if (channel->ended && events & EPOLLERR) {
      int error = pendingError(channel->fd);
      if (error != 0) tell(id, FAILED, error, 0);
    } else if (channel->reading && !channel->queued && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
      receive(place);
    }
  }

  // Reads once. A full read may have left something, which is read when JavaScript has had this: it may want no more
  // then.
  void receive(Place place) {
    if (arenaBytes_ - arenaUsed_ < READ_BYTES || eventRows_ - events_[0] < ROWS_MOST) deliver();
    for (;;) {
      Channel *channel = at(place);
      if (!channel || !channel->reading) return;
      ssize_t got = recv(channel->fd, arena_ + arenaUsed_, READ_BYTES, 0);
      if (got > 0) {
        tell(place.id, BYTES, int32_t(arenaUsed_), int32_t(got));
        arenaUsed_ += size_t(got);
        // a short read has emptied it, unless its end stands behind
        if (size_t(got) < READ_BYTES && !channel->hungUp) return;
        channel->queued = true;
        again_.push_back(place);
        return;
      }
      if (got == 0) {
        channel->ended = true;
        channel->reading = false;
        tell(place.id, END, 0, 0);
        return;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) tell(place.id, FAILED, errno, 0);
      return;
    }
  }

  void drain(int id) {
    Channel &channel = channels_[id];
    while (channel.taken < channel.backlog.size()) {
      ssize_t sent = send(channel.fd, channel.backlog.data() + channel.taken, channel.backlog.size() - channel.taken,
                          MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) {
        channel.taken += size_t(sent);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return;
      } else if (errno != EINTR) {
        channel.unwritable = true;
        int error = errno;
        clearBacklog(channel);
        tell(id, UNWRITABLE, error, 0);
        return;
      }
    }
    clearBacklog(channel);
    tell(id, DRAINED, 0, 0);
  }

  static void clearBacklog(Channel &channel) {
    channel.backlog = std::string();
    channel.taken = 0;
  }

  static int pendingError(int fd) {
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
    return error;
  }

  void tell(int id, Kind kind, int32_t a, int32_t b) {
    int32_t *row = events_ + 1 + 4 * events_[0]++;
    row[0] = id;
    row[1] = kind;
    row[2] = a;
    row[3] = b;
  }

  // Calls JavaScript with what has happened, and sends what it wrote; results of that are told too.
  void deliver() {
    Napi::Env env = Env();
    while (watch_ && (events_[0] > 0 || results_[0] > 0)) {
      inBatch_ = true;
      napi_value error;
      // Not by node-addon-api: a thread that is ended meanwhile takes no exception, and that would end the process.
      napi_status called = napi_make_callback(env, async_, Value(), onBatch_.Value(), 0, nullptr, nullptr);
      events_[0] = 0;
      results_[0] = 0;
      arenaUsed_ = 0;
      inBatch_ = false;
      if (called != napi_ok && napi_get_and_clear_last_exception(env, &error) == napi_ok)
        napi_fatal_exception(env, error);
      if (!watch_) return;
      sendAll();
      freeLeft();
    }
    arenaUsed_ = 0;
  }

  // --- writes

  // Sends the table of writes. What a socket does not take becomes its backlog.
  void sendAll() {
    int32_t count = writes_[0];
    for (int32_t i = 0; i < count;) {
      int32_t id = writes_[1 + 3 * i];
      iovec pieces[PIECES_MOST];
      int used = 0;
      for (; i < count && used < PIECES_MOST && writes_[1 + 3 * i] == id; i++) {
        int32_t offset = writes_[2 + 3 * i];
        size_t length = size_t(writes_[3 + 3 * i]);
        uint8_t *from = offset < 0 ? arena_ + ~offset : out_ + offset;
        size_t room = offset < 0 ? arenaBytes_ - size_t(~offset) : outBytes_ - size_t(offset);
        if (length <= room) pieces[used++] = {from, length};
      }
      Channel *channel = at(id);
      if (channel && !channel->unwritable) sendOne(id, *channel, pieces, used);
    }
    writes_[0] = 0;
  }

  void sendOne(int id, Channel &channel, const iovec *pieces, int count) {
    size_t sent = 0;
    if (channel.backlog.empty()) {
      msghdr message{};
      message.msg_iov = const_cast<iovec *>(pieces);
      message.msg_iovlen = size_t(count);
      ssize_t status;
      do
        status = count == 1 ? send(channel.fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
                            : sendmsg(channel.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      while (status < 0 && errno == EINTR);
      if (status >= 0) {
        sent = size_t(status);
      } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
        channel.unwritable = true;
        result(id, UNWRITABLE, errno);
        return;
      }
    }
    for (int i = 0; i < count; i++) {
      size_t skipped = std::min(sent, pieces[i].iov_len);
      sent -= skipped;
      channel.backlog.append(static_cast<char *>(pieces[i].iov_base) + skipped, pieces[i].iov_len - skipped);
    }
    if (!channel.backlog.empty()) result(id, BLOCKED, int32_t(channel.backlog.size() - channel.taken));
  }

  void result(int id, Kind kind, int32_t a) {
    int32_t *row = results_ + 1 + 3 * results_[0]++; // one of each run of writes at most: there is room
    row[0] = id;
    row[1] = kind;
    row[2] = a;
  }

  // --- calls

  static Napi::Value number(const Napi::CallbackInfo &info, int value) { return Napi::Number::New(info.Env(), value); }
  static int toInt(const Napi::Value &value) { return value.As<Napi::Number>().Int32Value(); }

  // adopt(fd): id. A connected socket, not read yet.
  Napi::Value adopt(const Napi::CallbackInfo &info) {
    int fd = toInt(info[0]);
    prepare(fd);
    return number(info, place(fd));
  }

  // connect(fd, ip, port): id, or -errno where it failed at once; the fd is closed then.
  Napi::Value connect(const Napi::CallbackInfo &info) {
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

  static int closeWith(int fd, int status) {
    ::close(fd);
    return status;
  }

  static void prepare(int fd) {
    int on = 1, idleSeconds = 60;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idleSeconds, sizeof(idleSeconds));
  }

  // read(id, wanted): status. Nothing more is told of what arrives, or all of it from now on.
  Napi::Value read(const Napi::CallbackInfo &info) {
    int id = toInt(info[0]);
    Channel *channel = at(id);
    if (!channel || channel->ended) return number(info, 0);
    bool wanted = info[1].As<Napi::Boolean>();
    if (channel->reading == wanted) return number(info, 0);
    channel->reading = wanted;
    return number(info, wanted ? watch(id) : 0);
  }

  // flush(): how many results. Sends what has been written by now.
  Napi::Value flush(const Napi::CallbackInfo &info) {
    if (watch_) {
      sendAll();
      if (!inBatch_) freeLeft();
    }
    return number(info, results_[0]);
  }

  // shutdown(id): status
  Napi::Value shutdown(const Napi::CallbackInfo &info) {
    Channel *channel = at(toInt(info[0]));
    if (!channel) return number(info, 0);
    return number(info, ::shutdown(channel->fd, SHUT_WR) < 0 ? -errno : 0);
  }

  // close(id, reset): it is gone; with `reset` by RST.
  Napi::Value close(const Napi::CallbackInfo &info) {
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
  Napi::Value fd(const Napi::CallbackInfo &info) {
    Channel *channel = at(toInt(info[0]));
    return number(info, channel ? channel->fd : -1);
  }

  // stop(): closes all.
  Napi::Value stop(const Napi::CallbackInfo &info) {
    if (release()) Unref();
    return info.Env().Undefined();
  }

  Napi::Value status(const Napi::CallbackInfo &info) { return number(info, status_); }

  Napi::AsyncContext async_;
  Napi::FunctionReference onBatch_;
  std::vector<Napi::ObjectReference> kept_; // the tables' memory
  uint8_t *arena_, *out_;
  size_t arenaBytes_, outBytes_, arenaUsed_ = 0;
  int32_t *events_, *writes_, *results_;
  int32_t eventRows_, writeRows_;
  Watch *watch_ = nullptr;
  std::vector<Channel> channels_;
  std::vector<int> free_, left_;
  std::vector<Place> again_; // to be read on
  int open_ = 0;
  bool inBatch_ = false;
  int status_ = 0;
};

} // namespace

void exportChannels(Napi::Env env, Napi::Object exports) {
  exports.Set("Channels", Channels::define(env));
}
