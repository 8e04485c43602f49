// TLS over the OpenSSL that the node binary exports: bytes in, bytes out, no socket of its own. Who is taken for whom
// is decided in TypeScript; here a chain is verified up to the roots, or the handshake fails.
#pragma once

#include "addon.h"
#include <list>
#include <memory>
#include <openssl/ssl.h>
#include <string>
#include <unordered_map>

// Sessions that servers gave, one a name, the least recently used of which makes room.
class TlsSessions {
public:
  TlsSessions(size_t most, long seconds) : most_(most), seconds_(seconds) {}
  ~TlsSessions();
  // Takes the reference over.
  void keep(const std::string &name, SSL_SESSION *session);
  // One that may still be resumed, or null; it stays here.
  SSL_SESSION *find(const std::string &name);

private:
  using Entry = std::pair<std::string, SSL_SESSION *>;
  void drop(std::list<Entry>::iterator entry);

  size_t most_;
  long seconds_;
  std::list<Entry> entries_; // the last used first
  std::unordered_map<std::string, std::list<Entry>::iterator> byName_;
};

// A certificate and its key, the roots that peers are verified by, and what goes with them. Connections keep what they
// began with, whatever becomes of this.
class TlsCredentials : public Napi::ObjectWrap<TlsCredentials> {
public:
  static Napi::Function define(Napi::Env env);
  // new TlsCredentials({certificate, key, roots, sessionContext, ticketKeys, ticketSeconds, sessionsMost, minVersion,
  // rekeyBytes})
  explicit TlsCredentials(const Napi::CallbackInfo &info);
  ~TlsCredentials() override;

  SSL_CTX *context() const { return context_; }
  const std::shared_ptr<TlsSessions> &sessions() const { return sessions_; }
  uint64_t rekeyBytes() const { return rekeyBytes_; }
  bool verifies() const { return verifies_; }
  bool givesTickets() const { return givesTickets_; }

private:
  bool load(const Napi::Object &wish);
  Napi::Value fault(const Napi::CallbackInfo &info);

  SSL_CTX *context_ = nullptr;
  std::shared_ptr<TlsSessions> sessions_;
  uint64_t rekeyBytes_ = 0;
  bool verifies_ = false, givesTickets_ = false;
  std::string fault_; // empty where all is well
};

// How one connection is to be secured.
struct TlsWish {
  bool isServer;
  bool mutual;            // a server's: the client has to show a certificate
  std::string alpn;       // as on the wire: each behind its length
  std::string serverName; // a client's: may be empty
  std::string session;    // a client's: names what may be resumed; may be empty
  std::string ahead;      // was received before
};

// Why a connection's TLS has ended badly. TypeScript gives it a name.
struct TlsFault {
  enum Kind { PROTOCOL = 0, TRUNCATED = 1, EXCESS = 2 } kind;
  std::string text; // OpenSSL's words
  long verify;      // X509_V_*
};

class Tls {
public:
  enum class Step { DONE, WAITS, ENDED, BROKEN };

  // What is encrypted is appended to `out`, which others use in turn: it is sent before they do.
  static std::unique_ptr<Tls> open(const TlsCredentials &credentials, const TlsWish &wish, std::string &out);
  ~Tls() { SSL_free(ssl_); }

  bool handshaking() const { return handshaking_; }
  // A server's that has not looked at a byte of its client's yet.
  bool awaitsHello() const { return handshaking_ && shaken_ == 0 && SSL_is_server(ssl_) == 1; }
  // Whether bytes that were received have not been read.
  bool hasRest() const { return !rest_.empty() || SSL_pending(ssl_) > 0; }

  // Received bytes, which stay where they are until `keepRest`.
  void feed(const uint8_t *bytes, size_t length);
  Step handshake();
  // Decrypts up to `room` bytes: DONE where there may be more.
  Step read(uint8_t *to, size_t room, size_t &got);
  void keepRest();
  // False where nothing more can be written.
  bool write(const void *bytes, size_t length);
  // Says that nothing more is written, once.
  void notifyClose();
  bool hasNotified() const { return closed_; }
  // The connection has ended without a word.
  Step cut();
  // So many bytes were written for the peer's sake alone while it took nothing: BROKEN beyond what is reasonable.
  Step answered(size_t bytes, bool isTaking);

  const TlsFault &fault() const { return fault_; }
  Napi::Object describe(Napi::Env env) const;

private:
  Tls(SSL *ssl, const TlsCredentials &credentials, const TlsWish &wish, std::string &out);
  Step failed();
  void offer(SSL_SESSION *session);
  static BIO_METHOD *method();
  static int takeIn(BIO *bio, char *to, int most);
  static int giveOut(BIO *bio, const char *bytes, int length);
  static int onSession(SSL *ssl, SSL_SESSION *session);
  static int onAlpn(SSL *ssl, const unsigned char **chosen, unsigned char *length, const unsigned char *offered,
                    unsigned int offeredLength, void *);
  friend class TlsCredentials;

  SSL *ssl_;
  std::string &out_;
  std::shared_ptr<TlsSessions> sessions_;
  std::string session_, alpn_;
  std::string rest_; // received, and not read
  const uint8_t *at_ = nullptr, *end_ = nullptr;
  bool handshaking_ = true;
  bool closed_ = false; // nothing more is written
  size_t shaken_ = 0;   // bytes of the handshake
  size_t answered_ = 0; // bytes written while reading, and not taken
  uint64_t rekeyBytes_, written_ = 0;
  TlsFault fault_{TlsFault::PROTOCOL, "", 0};
};
