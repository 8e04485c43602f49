// Which sockets listen, and which are connected, in a pod's network namespace, by sock_diag: for those that no program
// saw start, and for what open connections have carried so far. And the end of connections that nobody may judge.
#include "../bpf/mesh.h"
#include "addon.h"
#include "sockets.h"
#include <arpa/inet.h>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <unordered_set>
#include <vector>

constexpr size_t MOST_LISTENERS = 4096;      // a namespace; with more the answer is -E2BIG
constexpr size_t MOST_CONNECTIONS = 1 << 18; // likewise
constexpr int MOST_MESSAGES = 1 << 16;       // a dump of so many sockets has far fewer
constexpr uint32_t LISTENS = 1 << 10;        // TCP_LISTEN
// all that a connection goes through from ESTABLISHED on, but TIME_WAIT and CLOSE
constexpr uint32_t CONNECTED = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

using Take = std::function<int(const nlmsghdr *)>; // 0, or -errno that ends the dump

static address addressOf(const inet_diag_msg &socket, const uint32_t *ip, uint16_t port) {
  address out{};
  if (socket.idiag_family == AF_INET6) {
    memcpy(out.ip, ip, sizeof(out.ip));
  } else {
    out.ip[2] = htonl(0xffff);
    out.ip[3] = ip[0];
  }
  out.port = port;
  return out;
}

static bool isMapped(const address &a) {
  return !a.ip[0] && !a.ip[1] && a.ip[2] == htonl(0xffff);
}

static bool isLoopback(const address &a) {
  if (isMapped(a)) return (ntohl(a.ip[3]) >> 24) == 127;
  return !a.ip[0] && !a.ip[1] && !a.ip[2] && a.ip[3] == htonl(1);
}

static uint64_t cookieOf(const inet_diag_msg &socket) {
  return uint64_t(socket.id.idiag_cookie[1]) << 32 | socket.id.idiag_cookie[0];
}

// Asks for sockets of a family in some states; with `maps` also for what they keep in these two storages.
static int ask(int fd, uint8_t family, uint32_t states, const int *maps) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
    rtattr storages; // a nest: one SK_DIAG_BPF_STORAGE_REQ_MAP_FD a map
    rtattr first;
    uint32_t firstMap;
    rtattr second;
    uint32_t secondMap;
  } message{};
  message.header.nlmsg_len = maps ? sizeof(message) : NLMSG_LENGTH(sizeof(message.request));
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = family;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = states;
  if (maps) {
    message.request.idiag_ext = 1 << (INET_DIAG_INFO - 1);
    message.storages = {RTA_LENGTH(2 * RTA_LENGTH(sizeof(uint32_t))), INET_DIAG_REQ_SK_BPF_STORAGES | NLA_F_NESTED};
    message.first = message.second = {RTA_LENGTH(sizeof(uint32_t)), SK_DIAG_BPF_STORAGE_REQ_MAP_FD};
    message.firstMap = uint32_t(maps[0]);
    message.secondMap = uint32_t(maps[1]);
  }
  return send(fd, &message, message.header.nlmsg_len, 0) < 0 ? -errno : 0;
}

// Takes the messages of one datagram. 1 = the dump goes on, 0 = done, or -errno.
static int takeAll(const char *bytes, size_t length, const Take &take) {
  auto *header = reinterpret_cast<const nlmsghdr *>(bytes);
  int left = int(length);
  for (; NLMSG_OK(header, unsigned(left)); header = NLMSG_NEXT(header, left)) {
    if (header->nlmsg_type == NLMSG_DONE) return 0;
    if (header->nlmsg_type == NLMSG_ERROR) return static_cast<const nlmsgerr *>(NLMSG_DATA(header))->error;
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return -EPROTO;
    int status = take(header);
    if (status < 0) return status;
  }
  return 1;
}

static int dump(int fd, uint8_t family, uint32_t states, const int *maps, const Take &take) {
  // the most that the kernel puts into one datagram of a dump
  alignas(nlmsghdr) static thread_local char bytes[1 << 15];
  int status = ask(fd, family, states, maps);
  if (status < 0) return status;
  for (int i = 0; i < MOST_MESSAGES; i++) {
    ssize_t length = recv(fd, bytes, sizeof(bytes), MSG_TRUNC);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return -errno;
    if (length == 0 || size_t(length) > sizeof(bytes)) return -EPROTO;
    status = takeAll(bytes, size_t(length), take);
    if (status <= 0) return status;
  }
  return -E2BIG;
}

// A socket to ask in a namespace by. An fd, or -errno.
static int openIn(int netns, int home) {
  int fd = socketInside(netns, home, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) return fd;
  timeval patience{1, 0}; // the kernel answers while it is asked: nothing is ever waited for
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  return fd;
}

// Dumps both families. 0, or -errno.
static int dumpAll(int fd, uint32_t states, const int *maps, const Take &take) {
  int status = dump(fd, AF_INET, states, maps, take);
  if (status == 0) status = dump(fd, AF_INET6, states, maps, take);
  return status == -ENOENT ? 0 : status; // a kernel without IPv6
}

static int dumpIn(int netns, int home, uint32_t states, const int *maps, const Take &take) {
  int fd = openIn(netns, home);
  if (fd < 0) return fd;
  int status = dumpAll(fd, states, maps, take);
  close(fd);
  return status;
}

template <typename Row> static Napi::Object toRows(Napi::Env env, int status, const std::vector<Row> &found) {
  size_t length = status < 0 ? 0 : found.size() * sizeof(Row);
  Napi::Uint8Array bytes = Napi::Uint8Array::New(env, length);
  if (length > 0) memcpy(bytes.Data(), found.data(), length);
  Napi::Object out = Napi::Object::New(env);
  out["status"] = status;
  out["found"] = bytes;
  return out;
}

// listenersIn(netns, home): { status, found }, found = the bytes of struct listening (bpf/mesh.h), one a socket that
// somebody outside could ask for (as place_listened() of bpf/ports.h)
static Napi::Value listenersIn(const Napi::CallbackInfo &info) {
  std::vector<listening> found;
  int netns = info[0].As<Napi::Number>().Int32Value(), home = info[1].As<Napi::Number>().Int32Value();
  int status = dumpIn(netns, home, LISTENS, nullptr, [&found](const nlmsghdr *header) {
    auto *socket = static_cast<const inet_diag_msg *>(NLMSG_DATA(header));
    address at = addressOf(*socket, socket->id.idiag_src, socket->id.idiag_sport);
    if (isLoopback(at)) return 0;
    if (found.size() == MOST_LISTENERS) return -E2BIG;
    found.push_back({cookieOf(*socket), place_of(folded(at.ip, htonl(0xffff)), ntohs(at.port))});
    return 0;
  });
  return toRows(info.Env(), status, found);
}

// One row a connection; agent/kernel/layout.ts reads it.
struct connection {
  uint64_t socket;
  uint64_t sent; // payload bytes, each once
  uint64_t received;
  tally_key key;   // all 0 where it belongs to no tally
  uint32_t own;    // 1: the proxy's, or a probe's
  uint32_t inside; // 1: it does not leave the namespace
  address local;
  address remote;
};

// What is left of a connection after its socket (a half-closed one in TIME_WAIT's place) comes without a tcp_info.
static bool hasSocket(const nlmsghdr *header) {
  auto *socket = static_cast<const inet_diag_msg *>(NLMSG_DATA(header));
  int left = int(header->nlmsg_len - NLMSG_LENGTH(sizeof(*socket)));
  for (auto *attribute = reinterpret_cast<const rtattr *>(socket + 1); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left))
    if ((attribute->rta_type & NLA_TYPE_MASK) == INET_DIAG_INFO) return true;
  return false;
}

// Which tally a connection belongs to, and whose it is, from the storages that came with it.
static void readStorages(const rtattr *nest, const uint32_t *ids, connection &row) {
  int left = int(RTA_PAYLOAD(nest));
  for (auto *storage = static_cast<const rtattr *>(RTA_DATA(nest)); RTA_OK(storage, left);
       storage = RTA_NEXT(storage, left)) {
    uint32_t id = 0;
    const rtattr *value = nullptr;
    int inner = int(RTA_PAYLOAD(storage));
    for (auto *field = static_cast<const rtattr *>(RTA_DATA(storage)); RTA_OK(field, inner);
         field = RTA_NEXT(field, inner)) {
      int kind = field->rta_type & NLA_TYPE_MASK;
      if (kind == SK_DIAG_BPF_STORAGE_MAP_ID) memcpy(&id, RTA_DATA(field), sizeof(id));
      if (kind == SK_DIAG_BPF_STORAGE_MAP_VALUE) value = field;
    }
    if (!value) continue;
    if (id == ids[0] && RTA_PAYLOAD(value) >= sizeof(row.key)) memcpy(&row.key, RTA_DATA(value), sizeof(row.key));
    if (id == ids[1]) row.own = 1;
  }
}

static connection toConnection(const nlmsghdr *header, const uint32_t *ids) {
  auto *socket = static_cast<const inet_diag_msg *>(NLMSG_DATA(header));
  connection row{};
  address &local = row.local = addressOf(*socket, socket->id.idiag_src, socket->id.idiag_sport);
  address &remote = row.remote = addressOf(*socket, socket->id.idiag_dst, socket->id.idiag_dport);
  row.socket = cookieOf(*socket);
  row.inside = isLoopback(local) || isLoopback(remote) || memcmp(local.ip, remote.ip, sizeof(local.ip)) == 0;
  int left = int(header->nlmsg_len - NLMSG_LENGTH(sizeof(*socket)));
  for (auto *attribute = reinterpret_cast<const rtattr *>(socket + 1); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left)) {
    int kind = attribute->rta_type & NLA_TYPE_MASK;
    if (kind == INET_DIAG_INFO && RTA_PAYLOAD(attribute) >= offsetof(tcp_info, tcpi_dsack_dups)) {
      auto *told = static_cast<const tcp_info *>(RTA_DATA(attribute));
      row.sent = told->tcpi_bytes_sent - told->tcpi_bytes_retrans;
      row.received = told->tcpi_bytes_received;
    }
    if (kind == INET_DIAG_SK_BPF_STORAGES) readStorages(attribute, ids, row);
  }
  // a FIN that came counts as a byte: CLOSE_WAIT, LAST_ACK, CLOSING
  bool finCame = 1 << socket->idiag_state & (1 << 8 | 1 << 9 | 1 << 11);
  if (finCame && row.received > 0) row.received--;
  return row;
}

// connectionsIn(netns, home, countedMap, ownMap, countedId, ownId): { status, found }, found = struct connections
static Napi::Value connectionsIn(const Napi::CallbackInfo &info) {
  auto number = [&info](size_t at) { return info[at].As<Napi::Number>().Int32Value(); };
  int maps[] = {number(2), number(3)};
  uint32_t ids[] = {uint32_t(number(4)), uint32_t(number(5))};
  std::vector<connection> found;
  int status = dumpIn(number(0), number(1), CONNECTED, maps, [&found, &ids](const nlmsghdr *header) {
    if (!hasSocket(header)) return 0;
    if (found.size() == MOST_CONNECTIONS) return -E2BIG;
    found.push_back(toConnection(header, ids));
    return 0;
  });
  return toRows(info.Env(), status, found);
}

// Resets one connection: its application gets ECONNABORTED, the other end a reset. 0, or -errno: -ENOENT and -ESTALE
// where it has ended, and its ends are perhaps another's.
static int destroy(int fd, const inet_diag_msg &socket) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header.nlmsg_len = sizeof(message);
  message.header.nlmsg_type = SOCK_DESTROY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  message.request.sdiag_family = socket.idiag_family;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.id = socket.id; // the cookie and a device that it is bound to are in there
  if (send(fd, &message, sizeof(message), 0) < 0) return -errno;
  alignas(nlmsghdr) char bytes[1 << 10]; // the answer repeats the request
  ssize_t length;
  do
    length = recv(fd, bytes, sizeof(bytes), 0);
  while (length < 0 && errno == EINTR);
  if (length < 0) return -errno;
  auto *header = reinterpret_cast<const nlmsghdr *>(bytes);
  if (!NLMSG_OK(header, unsigned(length)) || header->nlmsg_type != NLMSG_ERROR) return -EPROTO;
  return static_cast<const nlmsgerr *>(NLMSG_DATA(header))->error;
}

// resetIn(netns, home, cookies): how many connections with these cookies were reset, or -errno where the first that is
// still there could not be
static Napi::Value resetIn(const Napi::CallbackInfo &info) {
  auto cookies = info[2].As<Napi::BigUint64Array>();
  std::unordered_set<uint64_t> wanted(cookies.Data(), cookies.Data() + cookies.ElementLength());
  std::vector<inet_diag_msg> found;
  int fd = openIn(info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Number>().Int32Value());
  if (fd < 0) return Napi::Number::New(info.Env(), fd);
  int status = dumpAll(fd, CONNECTED, nullptr, [&found, &wanted](const nlmsghdr *header) {
    auto *socket = static_cast<const inet_diag_msg *>(NLMSG_DATA(header));
    // once each: a dump may tell one twice
    if (wanted.erase(cookieOf(*socket)) > 0) found.push_back(*socket);
    return 0;
  });
  int count = 0;
  for (auto socket = found.begin(); status == 0 && socket != found.end(); socket++) {
    status = destroy(fd, *socket);
    if (status == 0) count++;
    if (status == -ENOENT || status == -ESTALE) status = 0;
  }
  close(fd);
  return Napi::Number::New(info.Env(), count > 0 || status == 0 ? count : status);
}

void exportDiag(Napi::Env env, Napi::Object exports) {
  exports["listenersIn"] = Napi::Function::New(env, listenersIn);
  exports["connectionsIn"] = Napi::Function::New(env, connectionsIn);
  exports["resetIn"] = Napi::Function::New(env, resetIn);
}
