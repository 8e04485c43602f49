// Which sockets listen in a pod's network namespace, by sock_diag: for those that no program saw start.
#include "../bpf/mesh.h"
#include "addon.h"
#include "sockets.h"
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <vector>

constexpr size_t MOST_LISTENERS = 4096; // a namespace; with more the answer is -E2BIG
constexpr int MOST_MESSAGES = 1024;     // a dump of so many sockets has far fewer
constexpr int TCP_LISTEN_STATE = 10;    // TCP_LISTEN of <netinet/tcp.h>, which clashes with the kernel's own header

// As place_listened() of bpf/ports.h: 0 where nobody outside could ask for it by IPv4.
static uint64_t placeOf(const inet_diag_msg &socket) {
  const uint32_t *ip = socket.id.idiag_src;
  uint32_t v4 = ip[0];
  if (socket.idiag_family == AF_INET6) {
    if (ip[0] || ip[1] || (ip[2] && ip[2] != htonl(0xffff)) || (!ip[2] && ip[3])) return 0;
    v4 = ip[3];
  }
  if ((ntohl(v4) >> 24) == 127) return 0;
  return place_of(v4, ntohs(socket.id.idiag_sport));
}

static int ask(int fd, uint8_t family) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header.nlmsg_len = sizeof(message);
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = family;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = 1 << TCP_LISTEN_STATE;
  return send(fd, &message, sizeof(message), 0) < 0 ? -errno : 0;
}

// Takes the messages of one datagram. 1 = the dump goes on, 0 = done, or -errno.
static int take(const char *bytes, size_t length, std::vector<listening> &found) {
  auto *header = reinterpret_cast<const nlmsghdr *>(bytes);
  int left = int(length);
  for (; NLMSG_OK(header, unsigned(left)); header = NLMSG_NEXT(header, left)) {
    if (header->nlmsg_type == NLMSG_DONE) return 0;
    if (header->nlmsg_type == NLMSG_ERROR) return static_cast<const nlmsgerr *>(NLMSG_DATA(header))->error;
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return -EPROTO;
    auto *socket = static_cast<const inet_diag_msg *>(NLMSG_DATA(header));
    uint64_t place = placeOf(*socket);
    if (!place) continue;
    if (found.size() == MOST_LISTENERS) return -E2BIG;
    found.push_back({uint64_t(socket->id.idiag_cookie[1]) << 32 | socket->id.idiag_cookie[0], place});
  }
  return 1;
}

static int dump(int fd, uint8_t family, std::vector<listening> &found) {
  // the most that the kernel puts into one datagram of a dump
  alignas(nlmsghdr) static thread_local char bytes[1 << 15];
  int status = ask(fd, family);
  if (status < 0) return status;
  for (int i = 0; i < MOST_MESSAGES; i++) {
    ssize_t length = recv(fd, bytes, sizeof(bytes), MSG_TRUNC);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return -errno;
    if (length == 0 || size_t(length) > sizeof(bytes)) return -EPROTO;
    status = take(bytes, size_t(length), found);
    if (status <= 0) return status;
  }
  return -E2BIG;
}

// listenersIn(netns, home): { status, found }, found = the bytes of struct listening (bpf/mesh.h), one a socket
static Napi::Value listenersIn(const Napi::CallbackInfo &info) {
  std::vector<listening> found;
  int netns = info[0].As<Napi::Number>().Int32Value(), home = info[1].As<Napi::Number>().Int32Value();
  int fd = socketInside(netns, home, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  int status = fd;
  if (fd >= 0) {
    timeval patience{1, 0}; // the kernel answers while it is asked: nothing is ever waited for
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    status = dump(fd, AF_INET, found);
    if (status == 0) status = dump(fd, AF_INET6, found);
    if (status == -ENOENT) status = 0; // a kernel without IPv6
    close(fd);
  }
  size_t length = status < 0 ? 0 : found.size() * sizeof(listening);
  Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), length);
  if (length > 0) memcpy(bytes.Data(), found.data(), length);
  Napi::Object out = Napi::Object::New(info.Env());
  out["status"] = status;
  out["found"] = bytes;
  return out;
}

void exportListeners(Napi::Env env, Napi::Object exports) {
  exports["listenersIn"] = Napi::Function::New(env, listenersIn);
}
