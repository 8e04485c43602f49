#include "channels.h"
#include <algorithm>
#include <cerrno>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr int READY_MOST = 256;         // sockets of one epoll_wait
constexpr size_t READ_BYTES = 64 << 10; // of one recv: below it, large bodies cost visibly more
constexpr int ROUNDS_MOST = 8;          // of one wake-up: then timers have their turn
constexpr int PIECES_MOST = 16;         // of one send
constexpr int ROWS_MOST = 8;            // that one event of a socket makes

void clearBacklog(Channel &channel) {
  channel.backlog = std::string();
  channel.taken = 0;
}

} // namespace

int pendingError(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
  return error;
}

Channels::Channels(const Napi::CallbackInfo &info)
    : Napi::ObjectWrap<Channels>(info), async_(info.Env(), "weft:channels"),
      onBatch_(Napi::Persistent(info[5].As<Napi::Function>())), pipes_(info[6].As<Napi::Number>().Uint32Value()) {
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

// Closes what it opened where a later step fails.
int Channels::open() {
  int set = epoll_create1(EPOLL_CLOEXEC);
  if (set < 0) return -errno;
  int status;
  watch_ = Watch::open(Env(), set, *this, status);
  if (!watch_) return status;
  status = watch_->start();
  if (status < 0) {
    release();
    return status;
  }
  watch_->keep(false); // connections keep the loop alive, not this
  Ref();               // not collected while it is open, even if nobody holds it
  return 0;
}

// Closes every socket, and the set. Safe to call twice.
bool Channels::release() {
  if (!watch_) return false;
  watch_->close();
  watch_ = nullptr;
  for (Channel &channel : channels_)
    if (channel.fd >= 0) ::close(channel.fd);
  channels_.clear();
  pipes_.clear();
  return true;
}

int Channels::place(int fd) {
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
  if (open_++ == 0) watch_->keep(true);
  return id;
}

Channel *Channels::at(Place place) {
  Channel *channel = at(place.id);
  return channel && channel->turn == place.turn ? channel : nullptr;
}

Channel *Channels::at(int id) {
  if (id < 0 || size_t(id) >= channels_.size() || channels_[id].fd < 0) return nullptr;
  return &channels_[id];
}

// Its place is not another's while the tables may still name it.
void Channels::leave(int id) {
  Channel &channel = channels_[id];
  ::close(channel.fd); // leaves the epoll set with it
  channel.fd = -1;
  channel.backlog = std::string();
  if (channel.side) leavePump(channel);
  channel.tls.reset();
  left_.push_back(id);
  if (--open_ == 0) watch_->keep(false);
}

void Channels::freeLeft() {
  free_.insert(free_.end(), left_.begin(), left_.end());
  left_.clear();
}

// Into the epoll set, or once more told of all that is ready: what came while nobody read gave its edge then.
int Channels::watch(int id) {
  Channel &channel = channels_[id];
  epoll_event event{};
  event.events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = uint64_t(channel.turn) << 32 | uint32_t(id);
  if (epoll_ctl(watch_->fd(), channel.watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, channel.fd, &event) < 0) return -errno;
  channel.watched = true;
  return 0;
}

// --- a wake-up

void Channels::onReady(int) {
  Napi::HandleScope scope(Env());
  shaken_ = 0;
  epoll_event ready[READY_MOST];
  bool more = true; // there may be others that are ready
  for (int round = 0; round < ROUNDS_MOST && watch_; round++) {
    std::vector<Place> again;
    again.swap(again_);
    for (const Place &place : again) {
      if (Channel *channel = at(place)) channel->queued = false;
      receive(place);
    }
    if (!watch_) return; // stopped by what it was told
    int count = more ? epoll_wait(watch_->fd(), ready, READY_MOST, 0) : 0;
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

void Channels::happen(Place place, uint32_t events) {
  if (eventRows_ - events_[0] < ROWS_MOST) deliver();
  Channel *channel = at(place);
  if (!channel) return;
  int id = place.id;
  if (channel->side) return happenPumped(place, events);
  if (channel->connecting) {
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
    int error = pendingError(channel->fd);
    channel->connecting = false;
    tell(id, error == 0 ? CONNECTED : FAILED, error, 0);
    return; // it is read once it is resumed
  }
  if (events & EPOLLOUT && !channel->backlog.empty()) drain(id);
  if (events & EPOLL_BARRED) channel->hungUp = true;
  if (channel->tls && happenSecure(place, events)) return;
  if (channel->ended && events & EPOLLERR) {
    int error = pendingError(channel->fd);
    if (error != 0) tell(id, FAILED, error, 0);
  } else if (channel->reading && !channel->queued && events & (EPOLLIN | EPOLL_BARRED)) {
    receive(place);
  }
}

// Reads once. A full read may have left something, which is read when JavaScript has had this: it may want no more
// then.
void Channels::receive(Place place) {
  if (arenaBytes_ - arenaUsed_ < READ_BYTES || eventRows_ - events_[0] < ROWS_MOST) deliver();
  for (;;) {
    Channel *channel = at(place);
    if (channel && channel->side) return carry(place, channel->side->peer);
    if (!channel || !channel->reading) return;
    if (channel->tls) return receiveSecure(place);
    ssize_t got = recv(channel->fd, arena_ + arenaUsed_, READ_BYTES, 0);
    if (got > 0) {
      tell(place.id, BYTES, int32_t(arenaUsed_), int32_t(got));
      arenaUsed_ += size_t(got);
      // a short read has emptied it, unless something stands behind
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

void Channels::drain(int id) {
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
  if (!channel.side) tell(id, DRAINED, 0, 0);
}

void Channels::tell(int id, Kind kind, int32_t a, int32_t b) {
  int32_t *row = events_ + 1 + 4 * events_[0]++;
  row[0] = id;
  row[1] = kind;
  row[2] = a;
  row[3] = b;
}

// Calls JavaScript with what has happened, and sends what it wrote; results of that are told too.
void Channels::deliver() {
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
void Channels::sendAll() {
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

void Channels::sendOne(int id, Channel &channel, const iovec *pieces, int count) {
  if (channel.tls) return sendSecure(id, channel, pieces, count);
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

void Channels::result(int id, Kind kind, int32_t a) {
  int32_t *row = results_ + 1 + 3 * results_[0]++; // one of each run of writes at most: there is room
  row[0] = id;
  row[1] = kind;
  row[2] = a;
}
