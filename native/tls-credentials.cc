// Certificates, keys, roots and sessions: what many connections share.
#include "tls.h"
#include <ctime>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace {

constexpr int CHAIN_BYTES_MOST = 32 << 10; // of a peer's certificates
constexpr int CHAIN_MOST = 8;              // between its own and a root

struct Bio {
  BIO *bio;
  explicit Bio(const std::string &text) : bio(BIO_new_mem_buf(text.data(), int(text.size()))) {}
  ~Bio() { BIO_free(bio); }
};

int noPassword(char *, int, int, void *) {
  return -1;
}

// Whether what ended a run of certificates was the text's own end: a block that cannot be read ends it too.
bool isAtEnd() {
  return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

std::string textOf(const Napi::Object &wish, const char *field) {
  return wish.Get(field).As<Napi::String>().Utf8Value();
}

double numberOf(const Napi::Object &wish, const char *field) {
  return wish.Get(field).As<Napi::Number>().DoubleValue();
}

bool useChain(SSL_CTX *context, const std::string &pem) {
  Bio in(pem);
  X509 *certificate = PEM_read_bio_X509(in.bio, nullptr, noPassword, nullptr);
  bool isFine = certificate && SSL_CTX_use_certificate(context, certificate) == 1;
  X509_free(certificate);
  while (isFine && (certificate = PEM_read_bio_X509(in.bio, nullptr, noPassword, nullptr))) {
    isFine = SSL_CTX_add1_chain_cert(context, certificate) == 1;
    X509_free(certificate);
  }
  return isFine && isAtEnd();
}

bool useKey(SSL_CTX *context, const std::string &pem) {
  Bio in(pem);
  EVP_PKEY *key = PEM_read_bio_PrivateKey(in.bio, nullptr, noPassword, nullptr);
  bool isFine = key && SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;
  EVP_PKEY_free(key);
  return isFine;
}

bool useRoots(SSL_CTX *context, const std::string &pem) {
  Bio in(pem);
  X509_STORE *store = SSL_CTX_get_cert_store(context);
  int count = 0;
  while (X509 *certificate = PEM_read_bio_X509(in.bio, nullptr, noPassword, nullptr)) {
    count += X509_STORE_add_cert(store, certificate);
    X509_free(certificate);
  }
  return count > 0 && isAtEnd();
}

bool isOver(const X509 *certificate) {
  return certificate && X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0;
}

// A ticket lives no longer than either certificate, and none stands in for a certificate that is demanded. None is
// given for another: however often it is resumed, a session ends with the time that it began with.
SSL_TICKET_RETURN onTicket(SSL *ssl, SSL_SESSION *session, const unsigned char *, size_t, SSL_TICKET_STATUS status,
                           void *) {
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_IGNORE_RENEW;
  const X509 *peer = SSL_SESSION_get0_peer(session);
  bool isDemanded = SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER;
  if ((isDemanded && !peer) || isOver(peer) || isOver(SSL_get_certificate(ssl))) return SSL_TICKET_RETURN_IGNORE_RENEW;
  return SSL_TICKET_RETURN_USE;
}

} // namespace

// --- sessions

TlsSessions::~TlsSessions() {
  for (const Entry &entry : entries_)
    SSL_SESSION_free(entry.second);
}

void TlsSessions::drop(std::list<Entry>::iterator entry) {
  SSL_SESSION_free(entry->second);
  byName_.erase(entry->first);
  entries_.erase(entry);
}

void TlsSessions::keep(const std::string &name, SSL_SESSION *session) {
  auto known = byName_.find(name);
  if (known != byName_.end()) drop(known->second);
  entries_.emplace_front(name, session);
  byName_[name] = entries_.begin();
  if (entries_.size() > most_) drop(std::prev(entries_.end()));
}

SSL_SESSION *TlsSessions::find(const std::string &name) {
  auto known = byName_.find(name);
  if (known == byName_.end()) return nullptr;
  auto entry = known->second;
  SSL_SESSION *session = entry->second;
  if (!SSL_SESSION_is_resumable(session) || time(nullptr) - SSL_SESSION_get_time_ex(session) >= seconds_ ||
      isOver(SSL_SESSION_get0_peer(session))) {
    drop(entry);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return session;
}

// --- credentials

Napi::Function TlsCredentials::define(Napi::Env env) {
  return DefineClass(env, "TlsCredentials", {InstanceAccessor<&TlsCredentials::fault>("fault")});
}

TlsCredentials::TlsCredentials(const Napi::CallbackInfo &info) : Napi::ObjectWrap<TlsCredentials>(info) {
  ERR_clear_error();
  if (load(info[0].As<Napi::Object>())) return;
  const char *why = ERR_reason_error_string(ERR_peek_error());
  fault_ += why ? std::string(": ") + why : "";
  ERR_clear_error();
}

TlsCredentials::~TlsCredentials() {
  SSL_CTX_free(context_);
}

bool TlsCredentials::load(const Napi::Object &wish) {
  context_ = SSL_CTX_new(TLS_method());
  fault_ = "no TLS";
  if (!context_) return false;
  // A chain is sent as it was given; certificates are not compressed, which costs 3 ms a handshake.
  SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_options(context_, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                    SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION);
  SSL_CTX_set_max_cert_list(context_, CHAIN_BYTES_MOST);
  SSL_CTX_set_verify_depth(context_, CHAIN_MOST);
  if (SSL_CTX_set_min_proto_version(context_, int(numberOf(wish, "minVersion"))) != 1 ||
      SSL_CTX_set_ciphersuites(context_, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                         "TLS_CHACHA20_POLY1305_SHA256") != 1 ||
      SSL_CTX_set1_groups_list(context_, "P-256:X25519:P-384") != 1)
    return false;

  fault_ = "the certificate chain cannot be used";
  std::string certificate = textOf(wish, "certificate");
  if (!certificate.empty()) {
    if (!useChain(context_, certificate)) return false;
    fault_ = "the private key cannot be used";
    if (!useKey(context_, textOf(wish, "key"))) return false;
  }
  fault_ = "the roots cannot be used";
  std::string roots = textOf(wish, "roots");
  verifies_ = !roots.empty();
  if (verifies_ && !useRoots(context_, roots)) return false;

  fault_ = "resumption cannot be set up";
  Napi::Uint8Array session = wish.Get("sessionContext").As<Napi::Uint8Array>();
  if (SSL_CTX_set_session_id_context(context_, session.Data(), unsigned(session.ByteLength())) != 1) return false;
  long seconds = long(numberOf(wish, "ticketSeconds"));
  SSL_CTX_set_timeout(context_, seconds);
  Napi::Uint8Array keys = wish.Get("ticketKeys").As<Napi::Uint8Array>();
  givesTickets_ = keys.ByteLength() > 0;
  if (givesTickets_ && SSL_CTX_set_tlsext_ticket_keys(context_, keys.Data(), keys.ByteLength()) != 1) return false;
  if (SSL_CTX_set_num_tickets(context_, givesTickets_ ? 1 : 0) != 1) return false;
  SSL_CTX_set_session_ticket_cb(context_, nullptr, onTicket, nullptr);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context_, Tls::onSession);
  SSL_CTX_set_alpn_select_cb(context_, Tls::onAlpn, nullptr);
  sessions_ = std::make_shared<TlsSessions>(size_t(numberOf(wish, "sessionsMost")), seconds);
  rekeyBytes_ = uint64_t(numberOf(wish, "rekeyBytes"));
  ERR_clear_error(); // the end of each PEM text stands there as one
  fault_.clear();
  return true;
}

Napi::Value TlsCredentials::fault(const Napi::CallbackInfo &info) {
  return Napi::String::New(info.Env(), fault_);
}

void exportTls(Napi::Env env, Napi::Object exports) {
  exports.Set("TlsCredentials", TlsCredentials::define(env));
}
