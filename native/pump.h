// What a pump needs beside its two sockets: pipes, through which splice(2) moves bytes without a copy, and what is
// known of each side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

// A socket's place, as long as it is there.
struct Place {
  int id;
  uint32_t turn;
};

// Both ends of a pipe, closed with it.
class Pipe {
public:
  // Null where the system gives none that is worth having.
  static std::unique_ptr<Pipe> open();
  ~Pipe();
  Pipe(const Pipe &) = delete;
  Pipe &operator=(const Pipe &) = delete;

  const int out, in; // read from, written to

private:
  Pipe(int out, int in) : out(out), in(in) {}
};

// The pipes of one thread: a pump has one only while it moves much.
class Pipes {
public:
  // At most so many at a time, those that are kept for later among them.
  explicit Pipes(size_t most) : most_(most) {}
  // Null where all are in use, or the system gives no more.
  std::unique_ptr<Pipe> take();
  // One with bytes of a connection in it is closed: they must never reach another.
  void give(std::unique_ptr<Pipe> pipe, size_t bytesInIt);
  void clear();

private:
  size_t most_, open_ = 0;
  std::vector<std::unique_ptr<Pipe>> spare_;
};

// One side of a pump: what is read from this channel, and what is on its way to it.
struct PumpSide {
  Place peer;
  uint64_t received = 0; // from this channel
  // --- to this channel
  std::unique_ptr<Pipe> pipe;
  size_t piped = 0;   // bytes in the pipe
  bool bulk = false;  // a pipe is worth its price
  size_t run = 0;     // bytes in large pieces, less what small ones cost; in bulk, all since the peer last had no more
  bool ended = false; // the peer has ended its side: by FIN, or TLS's word
  bool shut = false;  // and sent on
  bool lost = false;  // one of the two is gone: JavaScript knows, and closes both
  // --- told to JavaScript
  uint64_t receivedTold = 0;
  size_t heldTold = 0;
};
