#include "tls.h"
#include <algorithm>
#include <cstring>
#include <openssl/err.h>

namespace {

constexpr size_t HANDSHAKE_MOST = 128 << 10; // bytes that a handshake may take
constexpr size_t ANSWERS_MOST = 16 << 10;    // bytes that a peer may have written to it, and not take

} // namespace

// --- a BIO whose source is what was fed, and whose sink is the bytes to be sent

BIO_METHOD *Tls::method() {
  static BIO_METHOD *const made = [] {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft");
    BIO_meth_set_read(method, takeIn);
    BIO_meth_set_write(method, giveOut);
    BIO_meth_set_ctrl(method, [](BIO *, int command, long, void *) -> long { return command == BIO_CTRL_FLUSH; });
    BIO_meth_set_create(method, [](BIO *bio) {
      BIO_set_init(bio, 1);
      return 1;
    });
    return method;
  }();
  return made;
}

int Tls::takeIn(BIO *bio, char *to, int most) {
  Tls &tls = *static_cast<Tls *>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  int length = int(std::min<size_t>(size_t(most), size_t(tls.end_ - tls.at_)));
  if (length == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  memcpy(to, tls.at_, size_t(length));
  tls.at_ += length;
  if (tls.handshaking_) tls.shaken_ += size_t(length);
  return length;
}

int Tls::giveOut(BIO *bio, const char *bytes, int length) {
  BIO_clear_retry_flags(bio);
  Tls &tls = *static_cast<Tls *>(BIO_get_data(bio));
  if (!tls.closed_) tls.out_.append(bytes, size_t(length));
  return length;
}

// --- a connection

std::unique_ptr<Tls> Tls::open(const TlsCredentials &credentials, const TlsWish &wish, std::string &out) {
  ERR_clear_error();
  SSL *ssl = credentials.context() ? SSL_new(credentials.context()) : nullptr;
  BIO *bio = ssl ? BIO_new(method()) : nullptr;
  if (!bio) {
    SSL_free(ssl);
    return nullptr;
  }
  SSL_set_bio(ssl, bio, bio);
  std::unique_ptr<Tls> tls(new Tls(ssl, credentials, wish, out));
  BIO_set_data(bio, tls.get());
  if (wish.isServer) {
    SSL_set_accept_state(ssl);
    if (!credentials.givesTickets()) SSL_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_set_verify(ssl, wish.mutual ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE, nullptr);
    return tls;
  }
  SSL_set_connect_state(ssl);
  SSL_set_verify(ssl, credentials.verifies() ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (!wish.serverName.empty() && SSL_set_tlsext_host_name(ssl, wish.serverName.c_str()) != 1) return nullptr;
  if (!wish.alpn.empty() && SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char *>(wish.alpn.data()),
                                                unsigned(wish.alpn.size())) != 0)
    return nullptr;
  if (!wish.session.empty()) tls->offer(tls->sessions_->find(wish.session));
  return tls;
}

Tls::Tls(SSL *ssl, const TlsCredentials &credentials, const TlsWish &wish, std::string &out)
    : ssl_(ssl), out_(out), sessions_(credentials.sessions()), session_(wish.session), alpn_(wish.alpn),
      rest_(wish.ahead), rekeyBytes_(credentials.rekeyBytes()) {
  SSL_set_app_data(ssl, this);
  at_ = reinterpret_cast<const uint8_t *>(rest_.data());
  end_ = at_ + rest_.size();
}

// A copy: OpenSSL spoils a session once it was used, or where its connection did not end in order.
void Tls::offer(SSL_SESSION *session) {
  SSL_SESSION *copy = session ? SSL_SESSION_dup(session) : nullptr;
  if (!copy) return;
  SSL_set_session(ssl_, copy);
  SSL_SESSION_free(copy);
}

// A client's: TLS 1.3 gives sessions behind the handshake. A copy is kept, see above; the answer says that the original
// was not taken over. One that a resumed session gives is not kept: it would have its time anew.
int Tls::onSession(SSL *ssl, SSL_SESSION *session) {
  Tls *tls = static_cast<Tls *>(SSL_get_app_data(ssl));
  bool isWanted = tls && !tls->session_.empty() && !SSL_session_reused(ssl);
  SSL_SESSION *copy = isWanted ? SSL_SESSION_dup(session) : nullptr;
  if (copy) tls->sessions_->keep(tls->session_, copy);
  return 0;
}

int Tls::onAlpn(SSL *ssl, const unsigned char **chosen, unsigned char *length, const unsigned char *offered,
                unsigned int offeredLength, void *) {
  const std::string &ours = static_cast<Tls *>(SSL_get_app_data(ssl))->alpn_;
  if (ours.empty()) return SSL_TLSEXT_ERR_NOACK;
  int how = SSL_select_next_proto(const_cast<unsigned char **>(chosen), length,
                                  reinterpret_cast<const unsigned char *>(ours.data()), unsigned(ours.size()), offered,
                                  offeredLength);
  return how == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

void Tls::feed(const uint8_t *bytes, size_t length) {
  at_ = bytes;
  end_ = bytes + length;
}

Tls::Step Tls::handshake() {
  ERR_clear_error();
  int status = SSL_do_handshake(ssl_);
  if (status == 1) {
    handshaking_ = false;
    return Step::DONE;
  }
  if (SSL_get_error(ssl_, status) != SSL_ERROR_WANT_READ) return failed();
  if (shaken_ <= HANDSHAKE_MOST) return Step::WAITS;
  fault_.kind = TlsFault::EXCESS;
  return Step::BROKEN;
}

Tls::Step Tls::read(uint8_t *to, size_t room, size_t &got) {
  if (at_ == end_ && !rest_.empty()) feed(reinterpret_cast<const uint8_t *>(rest_.data()), rest_.size());
  ERR_clear_error();
  for (got = 0; got < room;) {
    size_t length = 0;
    int status = SSL_read_ex(ssl_, to + got, room - got, &length);
    if (status == 1) {
      got += length;
      continue;
    }
    switch (SSL_get_error(ssl_, status)) {
    case SSL_ERROR_WANT_READ:
      return Step::WAITS;
    case SSL_ERROR_ZERO_RETURN:
      return Step::ENDED;
    default:
      return failed();
    }
  }
  return Step::DONE;
}

void Tls::keepRest() {
  rest_ = std::string(reinterpret_cast<const char *>(at_), size_t(end_ - at_));
  at_ = end_ = nullptr;
}

bool Tls::write(const void *bytes, size_t length) {
  ERR_clear_error();
  written_ += length;
  if (written_ > rekeyBytes_ && SSL_version(ssl_) == TLS1_3_VERSION) {
    written_ = 0;
    SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED);
  }
  size_t written = 0;
  bool isWritten = SSL_write_ex(ssl_, bytes, length, &written) == 1;
  ERR_clear_error();
  return isWritten;
}

void Tls::notifyClose() {
  if (closed_) return; // OpenSSL would look for the peer's
  ERR_clear_error();
  SSL_shutdown(ssl_);
  closed_ = true; // a peer's KeyUpdate has no answer any more
  ERR_clear_error();
}

Tls::Step Tls::cut() {
  fault_.kind = TlsFault::TRUNCATED;
  return Step::BROKEN;
}

Tls::Step Tls::answered(size_t bytes, bool isTaking) {
  answered_ = isTaking ? 0 : answered_ + bytes;
  if (answered_ <= ANSWERS_MOST) return Step::WAITS;
  fault_.kind = TlsFault::EXCESS;
  return Step::BROKEN;
}

Tls::Step Tls::failed() {
  // a chain that nobody was asked to verify has a verdict all the same
  long verify = SSL_get_verify_mode(ssl_) & SSL_VERIFY_PEER ? SSL_get_verify_result(ssl_) : X509_V_OK;
  const char *why =
      verify == X509_V_OK ? ERR_reason_error_string(ERR_peek_error()) : X509_verify_cert_error_string(verify);
  fault_ = {TlsFault::PROTOCOL, why ? why : "protocol error", verify};
  ERR_clear_error();
  return Step::BROKEN;
}

// {version, alpn, serverName, resumed, chain}: who is at the other end, as certificates in DER, its own first.
Napi::Object Tls::describe(Napi::Env env) const {
  const unsigned char *alpn = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_, &alpn, &length);
  const char *name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
  Napi::Array chain = Napi::Array::New(env);
  auto add = [&](const X509 *certificate) {
    unsigned char *der = nullptr;
    int size = i2d_X509(certificate, &der);
    if (size > 0) chain.Set(chain.Length(), Napi::Buffer<uint8_t>::Copy(env, der, size_t(size)));
    OPENSSL_free(der);
  };
  const X509 *peer = SSL_get0_peer_certificate(ssl_);
  if (peer) add(peer);
  STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ssl_);
  for (int i = 0; i < sk_X509_num(sent); i++) // a client's begins with the peer's own
    if (X509_cmp(sk_X509_value(sent, i), peer) != 0) add(sk_X509_value(sent, i));

  Napi::Object told = Napi::Object::New(env);
  told.Set("version", SSL_get_version(ssl_));
  told.Set("alpn", std::string(reinterpret_cast<const char *>(alpn), length));
  told.Set("serverName", name ? name : "");
  told.Set("resumed", bool(SSL_session_reused(ssl_)));
  told.Set("chain", chain);
  return told;
}
