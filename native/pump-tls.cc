// Pumps of which one side or both are TLS's: what one recv brought is decrypted, encrypted, or both, as one piece, and
// leaves by one send. JavaScript's part is as with plain ones; in place of FIN stands TLS's word of the end, before it.
#include "channels.h"
#include <cerrno>

namespace {

// Of plain bytes read for a side that encrypts: with what records add, less than PIPE_BYTES, which a side may hold.
constexpr size_t PLAIN_BYTES = 128 << 10;
static_assert(PLAIN_BYTES <= Wire::IN_BYTES);

} // namespace

// Reads one piece, and sends it on. What cannot be delivered any more is read all the same: it is how the end of that
// side shows.
Pulled Channels::pullSecure(Channel &source, Channel &sink) {
  Pulled pulled{BYTES};
  if (source.tls) {
    pulled = decryptPiece(source, sink.side->peer);
  } else {
    ssize_t got = receiveFrom(source.fd, piece_.get(), PLAIN_BYTES);
    if (got <= 0) return broughtNothing(got);
    pulled.bytes = size_t(got);
    pulled.isLast = pulled.bytes < PLAIN_BYTES && !source.hungUp;
  }
  if (pulled.bytes == 0) return pulled;
  if (sink.tls)
    passOnSecure(source.side->peer.id, pulled.bytes);
  else
    passOn(source.side->peer.id, pulled.bytes);
  return pulled;
}

// What the handshake left, or one recv of records.
Pulled Channels::decryptPiece(Channel &source, Place place) {
  Tls &tls = *source.tls;
  Pulled pulled{BYTES};
  if (!tls.hasRest()) {
    ssize_t got = receiveStaged(source, Wire::IN_BYTES);
    if (got == 0) {
      tls.cut();
      return {BROKEN};
    }
    if (got < 0) return broughtNothing(got);
    tls.feed(wire_.in.get(), size_t(got));
    pulled.taken = size_t(got);
    pulled.isLast = pulled.taken < Wire::IN_BYTES && !source.hungUp;
  }
  Tls::Step step = tls.read(piece_.get(), PIECE_ROOM, pulled.bytes);
  tls.keepRest();
  if (tls.hasRest()) pulled.isLast = false;
  // what reading made TLS say leaves before another channel stages its own
  size_t answer = wire_.out.size();
  if (answer > 0) {
    int error = sendStaged(source);
    if (error != 0) giveUpWriting(place.id, error);
    if (step != Tls::Step::BROKEN) {
      Tls::Step judged = tls.answered(answer, source.backlog.empty());
      if (judged == Tls::Step::BROKEN) step = judged;
    }
  }
  if (step == Tls::Step::ENDED) pulled.kind = END;
  if (step == Tls::Step::BROKEN) pulled.kind = BROKEN;
  return pulled;
}

// Encrypts the piece, and sends it. What the other side does not take becomes its backlog.
void Channels::passOnSecure(int id, size_t length) {
  Channel &sink = channels_[id];
  if (sink.unwritable) return;
  bool isWritten = sink.tls->write(piece_.get(), length);
  int error = sendStaged(sink);
  if (error == 0 && !isWritten) error = EPIPE;
  if (error != 0) giveUpWriting(id, error);
}

// TLS's word of the end, behind which FIN may follow. False where it has not left yet.
bool Channels::sayEnd(int id) {
  Channel &sink = channels_[id];
  if (!sink.tls->hasNotified()) {
    sink.tls->notifyClose();
    int error = sendStaged(sink);
    if (error != 0) giveUpWriting(id, error);
  }
  return sink.backlog.empty();
}
