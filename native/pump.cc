// Pumps: two channels joined, whose bytes no longer pass through JavaScript. A small piece is received and sent again;
// between plain channels a direction that carries much goes through a pipe by splice(2), and where a side is TLS's,
// pump-tls.cc has the piece. Either way nothing more is read until the other side has taken what was read: a direction
// holds one piece at most.
#include "channels.h"
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr size_t PIECE_BYTES = 64 << 10; // of one recv
constexpr size_t PIPE_BYTES = 256 << 10; // of one splice: what a direction holds at most
constexpr size_t PIPE_LEAST = 64 << 10;  // a smaller pipe costs more than it saves
constexpr size_t LARGE_BYTES = 16 << 10; // of a piece: below it splice(2) costs more than a copy
constexpr size_t BULK_BYTES = 256 << 10; // in large pieces: then a direction is worth a pipe
constexpr size_t TURN_BYTES = 256 << 10; // of one direction, then others have their turn
constexpr size_t SPARE_MOST = 16;        // pipes kept for later

bool isBusy(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

// The calls by which a piece leaves: where it was copied, and where it was not.

ssize_t sendTo(const Channel &channel, const uint8_t *from, size_t length) {
  ssize_t sent;
  do
    sent = send(channel.fd, from, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  return sent;
}

// A peer that is gone raises SIGPIPE here, which Node ignores.
ssize_t spliceOn(int from, int to, size_t most) {
  ssize_t moved;
  do
    moved = splice(from, nullptr, to, nullptr, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  while (moved < 0 && errno == EINTR);
  return moved;
}

} // namespace

ssize_t receiveFrom(int fd, uint8_t *to, size_t most) {
  ssize_t got;
  do
    got = recv(fd, to, most, 0);
  while (got < 0 && errno == EINTR);
  return got;
}

Pulled broughtNothing(ssize_t got) {
  if (got == 0) return {END};
  return isBusy(errno) ? Pulled{BYTES, 0, true} : Pulled{FAILED, 0, true, 0, errno};
}

// --- pipes

std::unique_ptr<Pipe> Pipe::open() {
  int fds[2];
  if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) return nullptr;
  std::unique_ptr<Pipe> pipe(new Pipe(fds[0], fds[1]));
  // beyond what the user may have in pipes it stays as it is, and that may be a page
  int size = fcntl(pipe->in, F_SETPIPE_SZ, int(PIPE_BYTES));
  if (size < 0) size = fcntl(pipe->in, F_GETPIPE_SZ);
  return size < int(PIPE_LEAST) ? nullptr : std::move(pipe);
}

Pipe::~Pipe() {
  ::close(out);
  ::close(in);
}

std::unique_ptr<Pipe> Pipes::take() {
  if (!spare_.empty()) {
    std::unique_ptr<Pipe> pipe = std::move(spare_.back());
    spare_.pop_back();
    return pipe;
  }
  if (open_ >= most_) return nullptr;
  std::unique_ptr<Pipe> pipe = Pipe::open();
  if (pipe) open_++;
  return pipe;
}

void Pipes::give(std::unique_ptr<Pipe> pipe, size_t bytesInIt) {
  if (!pipe) return;
  if (bytesInIt == 0 && spare_.size() < SPARE_MOST)
    spare_.push_back(std::move(pipe));
  else
    open_--;
}

void Pipes::clear() {
  open_ -= spare_.size();
  spare_.clear();
}

// --- a pump's life

// Joins two channels; what JavaScript has written to them leaves first.
int Channels::startPump(int a, int b) {
  Channel *ends[2] = {at(a), at(b)};
  if (!ends[0] || !ends[1] || a == b) return -EBADF;
  for (const Channel *end : ends)
    if (end->tls && end->tls->handshaking()) return -EINVAL;
  if (!piece_) piece_.reset(new uint8_t[PIECE_ROOM]);
  const int ids[2] = {a, b};
  for (int i = 0; i < 2; i++) {
    ends[i]->side.reset(new PumpSide{{ids[1 - i], ends[1 - i]->turn}});
    ends[i]->side->ended = ends[1 - i]->ended;
    ends[i]->side->heldTold = heldFor(*ends[i]);
  }
  int status = watch(a);
  return status < 0 ? status : watch(b);
}

// A side leaves; the other drains, or is closed too.
void Channels::leavePump(Channel &channel) {
  pipes_.give(std::move(channel.side->pipe), channel.side->piped);
  channel.side.reset();
}

size_t Channels::heldFor(const Channel &channel) const {
  return channel.side->piped + channel.backlog.size() - channel.taken;
}

// --- a wake-up

void Channels::happenPumped(Place place, uint32_t events) {
  Channel *channel = at(place);
  if (channel->side->lost) return;
  if (events & EPOLL_BARRED) channel->hungUp = true;
  if (channel->ended && events & EPOLLERR) { // behind its FIN nothing is read any more that would tell
    int error = pendingError(channel->fd);
    if (error != 0) return losePump(place.id, FAILED, error);
  }
  Place peer = channel->side->peer;
  // what a handshake left has no edge of its own: any will do
  bool hasRest = channel->tls && !channel->ended && channel->tls->hasRest();
  if (!channel->queued && (events & (EPOLLIN | EPOLL_BARRED) || hasRest)) carry(place, peer);
  if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP) && heldFor(*channel) > 0) carry(peer, place);
}

// Moves what there is from one side to the other, a turn's worth of it. `from` may have left: then what it sent is
// brought to its end.
void Channels::carry(Place from, Place to) {
  Channel *source = at(from), *sink = at(to);
  if (!sink || !sink->side || sink->side->lost) return;
  PumpSide &side = *sink->side;
  for (size_t moved = 0;;) {
    if (!sink->unwritable && !push(to.id)) return; // its edge goes on from here
    if (side.ended) return finish(to.id);
    if (!source) return;
    if (moved >= TURN_BYTES) {
      source->queued = true;
      again_.push_back(from);
      return;
    }
    Pulled pulled = source->tls || sink->tls ? pullSecure(*source, *sink) : pull(*source, *sink);
    source->side->received += pulled.bytes;
    moved += std::max(pulled.bytes, pulled.taken);
    if (pulled.kind == END) {
      if (!endPumped(from)) return;
      side.ended = true;
    } else if (pulled.kind != BYTES) {
      return losePump(from.id, pulled.kind, pulled.error);
    } else if (pulled.isLast && (sink->unwritable || heldFor(*sink) == 0)) {
      return rest(side);
    }
  }
}

// The other side has ended in order. False where it was lost after all.
bool Channels::endPumped(Place place) {
  Channel &channel = *at(place);
  channel.ended = true;
  // a reset that came with the FIN stands behind it, and its edge has been
  int error = pendingError(channel.fd);
  if (error != 0) {
    losePump(place.id, FAILED, error);
  } else if (channel.unwritable) { // no orderly end: a reset made reading and writing fail
    losePump(place.id, END, 0);
  } else {
    tell(place.id, END, 0, 0);
    return true;
  }
  return false;
}

// Reads one piece. What cannot be delivered any more is read all the same: it is how the end of that side shows.
Pulled Channels::pull(Channel &source, Channel &sink) {
  PumpSide &side = *sink.side;
  if (side.bulk && !side.pipe) {
    side.pipe = pipes_.take();
    side.bulk = side.pipe != nullptr; // else it has to earn the next try
    side.run = 0;
  }
  if (side.pipe) {
    ssize_t got = spliceOn(source.fd, side.pipe->in, PIPE_BYTES);
    if (got > 0) {
      side.piped += size_t(got);
      side.run += size_t(got);
      return {BYTES, size_t(got)};
    }
    if (got == 0 || !isBusy(errno)) return broughtNothing(got);
    // Urgent data stands in the way of splice(2) and not of recv(2), which therefore has the last word.
  }
  ssize_t got = receiveFrom(source.fd, piece_.get(), PIECE_BYTES);
  if (got <= 0) return broughtNothing(got);
  if (!side.bulk && !sink.unwritable) earn(side, size_t(got));
  passOn(source.side->peer.id, size_t(got));
  return {BYTES, size_t(got), size_t(got) < PIECE_BYTES && !source.hungUp};
}

// Sends the piece. What the other side does not take becomes its backlog.
void Channels::passOn(int id, size_t length) {
  Channel &sink = channels_[id];
  if (sink.unwritable) return;
  ssize_t sent = sendTo(sink, piece_.get(), length);
  if (sent < 0 && !isBusy(errno)) return giveUpWriting(id, errno);
  size_t taken = size_t(std::max<ssize_t>(sent, 0));
  if (taken < length) sink.backlog.assign(reinterpret_cast<char *>(piece_.get()) + taken, length - taken);
}

// Large pieces earn a pipe, small ones cost of it: the last of what came at once is often small.
void Channels::earn(PumpSide &side, size_t piece) {
  side.run = piece >= LARGE_BYTES ? side.run + piece : side.run - std::min(side.run, LARGE_BYTES);
  side.bulk = side.run >= BULK_BYTES;
}

// Sends on what is held for a side. Returns whether nothing is.
bool Channels::push(int id) {
  Channel &sink = channels_[id];
  PumpSide &side = *sink.side;
  if (!sink.backlog.empty()) drain(id);
  while (side.piped > 0 && !sink.unwritable) {
    ssize_t sent = spliceOn(side.pipe->out, sink.fd, side.piped);
    if (sent > 0) {
      side.piped -= size_t(sent);
    } else if (sent < 0 && isBusy(errno)) {
      return false;
    } else {
      giveUpWriting(id, sent == 0 ? EPIPE : errno);
    }
  }
  if (sink.unwritable) dropPiped(side);
  return sink.backlog.empty();
}

// What is read for it from now on goes nowhere. The first error is the one that tells why.
void Channels::giveUpWriting(int id, int error) {
  channels_[id].unwritable = true;
  dropPiped(*channels_[id].side);
  tell(id, UNWRITABLE, error, 0);
}

void Channels::dropPiped(PumpSide &side) {
  pipes_.give(std::move(side.pipe), side.piped);
  side.piped = 0;
  side.bulk = false;
}

// Nothing more is there to be read: the pipe is another's, and if little came through it, so are the next.
void Channels::rest(PumpSide &side) {
  if (!side.pipe) return;
  side.bulk = side.run >= LARGE_BYTES;
  side.run = 0;
  pipes_.give(std::move(side.pipe), side.piped);
}

// All that the other side sent has left: so does its FIN.
void Channels::finish(int id) {
  Channel &sink = channels_[id];
  PumpSide &side = *sink.side;
  if (side.shut) return;
  if (sink.tls && !sink.unwritable && !sayEnd(id)) return; // its edge goes on from here
  side.shut = true;
  rest(side);
  if (sink.unwritable) return; // its loss will be told
  ::shutdown(sink.fd, SHUT_WR);
  tell(id, SHUT, 0, 0);
}

// It is over by what is told now: JavaScript resets the other side.
void Channels::losePump(int id, Kind kind, int error) {
  Channel &channel = channels_[id];
  Channel *peer = at(channel.side->peer);
  channel.side->lost = true;
  if (peer && peer->side) peer->side->lost = true;
  tell(id, kind, error, 0);
}
