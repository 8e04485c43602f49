// Sockets inside a pod's network namespace. The calling thread enters it, makes one socket and returns: nothing
// interleaves, other threads never leave the agent's own namespace, and the socket stays where it was made.
#include "addon.h"
#include "bpf.h"
#include "sockets.h"
#include <arpa/inet.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <set>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static int toInt(const Napi::Value &value) {
  return value.As<Napi::Number>().Int32Value();
}

int socketInside(int netns, int home, int family, int type, int protocol) {
  if (netns >= 0 && setns(netns, CLONE_NEWNET) < 0) return -errno;
  int fd = socket(family, type, protocol);
  int status = fd < 0 ? -errno : fd;
  if (netns >= 0 && setns(home, CLONE_NEWNET) < 0) {
    // This thread would go on to make every socket in a stranger's namespace.
    perror("weft: cannot return to the agent's network namespace");
    abort();
  }
  return status;
}

// A TCP socket made as by socketInside(), marked as the proxy's own before anyone can connect or accept by it where
// `own` (a map, -1 = no mark) says so.
static int makeSocket(int netns, int home, int family, int own, const uint8_t *mark) {
  int fd = socketInside(netns, home, family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (fd < 0) return fd;
  int status = own < 0 ? 0 : map_put(own, &fd, mark);
  if (status < 0) {
    close(fd);
    return status;
  }
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  // Best effort: where cubic is not there, the machine's default stays. BBR without fq paces a relay to a third.
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
  return fd;
}

static int closeWith(int fd, int status) {
  close(fd);
  return status;
}

static int familyOf(const std::string &ip) {
  return ip.find(':') == std::string::npos ? AF_INET : AF_INET6;
}

static int bindTo(int fd, const std::string &ip, int port) {
  if (familyOf(ip) == AF_INET) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(uint16_t(port));
    if (inet_pton(AF_INET, ip.c_str(), &address.sin_addr) != 1) return -EINVAL;
    return bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) < 0 ? -errno : 0;
  }
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(uint16_t(port));
  if (inet_pton(AF_INET6, ip.c_str(), &address.sin6_addr) != 1) return -EINVAL;
  return bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) < 0 ? -errno : 0;
}

// socketIn(netns, home, family 4 | 6, ownMap, ownValue): fd
static Napi::Value socketIn(const Napi::CallbackInfo &info) {
  int family = toInt(info[2]) == 6 ? AF_INET6 : AF_INET;
  const uint8_t *mark = info[4].As<Napi::Uint8Array>().Data();
  return Napi::Number::New(info.Env(), makeSocket(toInt(info[0]), toInt(info[1]), family, toInt(info[3]), mark));
}

// listenIn(netns, home, { ip, port, backlog, own, mark }): listening fd
static Napi::Value listenIn(const Napi::CallbackInfo &info) {
  Napi::Object wish = info[2].As<Napi::Object>();
  std::string ip = wish.Get("ip").As<Napi::String>();
  const uint8_t *mark = wish.Get("mark").As<Napi::Uint8Array>().Data();
  int fd = makeSocket(toInt(info[0]), toInt(info[1]), familyOf(ip), toInt(wish.Get("own")), mark);
  if (fd < 0) return Napi::Number::New(info.Env(), fd);
  int on = 1;
  // For connections of an earlier agent that are still open on this port; a listener on it still refuses us.
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (familyOf(ip) == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  int status = bindTo(fd, ip, toInt(wish.Get("port")));
  if (status == 0 && listen(fd, toInt(wish.Get("backlog"))) < 0) status = -errno;
  return Napi::Number::New(info.Env(), status < 0 ? closeWith(fd, status) : fd);
}

// bindSocket(fd, ip, port): status
static Napi::Value bindSocket(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), bindTo(toInt(info[0]), info[1].As<Napi::String>(), toInt(info[2])));
}

// bindSource(fd, ip): status. The port is chosen by connect(), which may give it to one connection a destination.
static Napi::Value bindSource(const Napi::CallbackInfo &info) {
  int fd = toInt(info[0]), on = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  return Napi::Number::New(info.Env(), bindTo(fd, info[1].As<Napi::String>(), 0));
}

// setUserTimeout(fd, ms): status
static Napi::Value setUserTimeout(const Napi::CallbackInfo &info) {
  unsigned ms = info[1].As<Napi::Number>().Uint32Value();
  int status = setsockopt(toInt(info[0]), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)) < 0 ? -errno : 0;
  return Napi::Number::New(info.Env(), status);
}

// userTimeout(fd): ms or status
static Napi::Value userTimeout(const Napi::CallbackInfo &info) {
  unsigned ms = 0;
  socklen_t bytes = sizeof(ms);
  int status = getsockopt(toInt(info[0]), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &bytes) < 0 ? -errno : int(ms);
  return Napi::Number::New(info.Env(), status);
}

// setKeepalive(fd, idleSeconds, intervalSeconds, probes): status. When an idle peer is asked whether it still lives.
static Napi::Value setKeepalive(const Napi::CallbackInfo &info) {
  int fd = toInt(info[0]), on = 1, status = setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  const int options[] = {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT};
  for (int i = 0; i < 3 && status == 0; i++) {
    int value = toInt(info[1 + i]);
    status = setsockopt(fd, IPPROTO_TCP, options[i], &value, sizeof(value));
  }
  return Napi::Number::New(info.Env(), status < 0 ? -errno : 0);
}

// keepalive(fd): { idleSeconds, intervalSeconds, probes }, each a status where it cannot be read
static Napi::Value keepalive(const Napi::CallbackInfo &info) {
  const int options[] = {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT};
  const char *names[] = {"idleSeconds", "intervalSeconds", "probes"};
  Napi::Object out = Napi::Object::New(info.Env());
  for (int i = 0; i < 3; i++) {
    int value = 0;
    socklen_t bytes = sizeof(value);
    int status = getsockopt(toInt(info[0]), IPPROTO_TCP, options[i], &value, &bytes);
    out[names[i]] = status < 0 ? -errno : value;
  }
  return out;
}

// netnsCookie(fd of a socket): { status, cookie }, cookie in decimal
static Napi::Value netnsCookie(const Napi::CallbackInfo &info) {
  uint64_t cookie = 0;
  socklen_t bytes = sizeof(cookie);
  int status = getsockopt(toInt(info[0]), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &bytes) < 0 ? -errno : 0;
  Napi::Object out = Napi::Object::New(info.Env());
  out["status"] = status;
  out["cookie"] = std::to_string(cookie);
  return out;
}

// socketCookie(fd): { status, cookie }, cookie in decimal
static Napi::Value socketCookie(const Napi::CallbackInfo &info) {
  uint64_t cookie = 0;
  socklen_t bytes = sizeof(cookie);
  int status = getsockopt(toInt(info[0]), SOL_SOCKET, SO_COOKIE, &cookie, &bytes) < 0 ? -errno : 0;
  Napi::Object out = Napi::Object::New(info.Env());
  out["status"] = status;
  out["cookie"] = std::to_string(cookie);
  return out;
}

// isListening(fd): 1 or 0, status where it is no socket
static Napi::Value isListening(const Napi::CallbackInfo &info) {
  int listens = 0;
  socklen_t bytes = sizeof(listens);
  int status = getsockopt(toInt(info[0]), SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) < 0 ? -errno : listens;
  return Napi::Number::New(info.Env(), status);
}

struct End {
  int status;
  std::string ip;
  int port;
};

// IPv4, also in its mapped form, is told as dotted IPv4.
static End toEnd(int status, const sockaddr_storage &address) {
  char text[INET6_ADDRSTRLEN] = "";
  int port = 0;
  if (status == 0 && address.ss_family == AF_INET) {
    auto *v4 = reinterpret_cast<const sockaddr_in *>(&address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    port = ntohs(v4->sin_port);
  } else if (status == 0 && address.ss_family == AF_INET6) {
    auto *v6 = reinterpret_cast<const sockaddr_in6 *>(&address);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
      inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, sizeof(text));
    else
      inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    port = ntohs(v6->sin6_port);
  } else if (status == 0) {
    status = -EAFNOSUPPORT;
  }
  return {status, text, port};
}

// ends(fd): { status, localIp, localPort, remoteIp, remotePort }; a socket that is not connected has remote '' and 0
static Napi::Value ends(const Napi::CallbackInfo &info) {
  int fd = toInt(info[0]);
  sockaddr_storage address{};
  socklen_t bytes = sizeof(address);
  int status = getsockname(fd, reinterpret_cast<sockaddr *>(&address), &bytes) < 0 ? -errno : 0;
  End local = toEnd(status, address);
  bytes = sizeof(address);
  status = getpeername(fd, reinterpret_cast<sockaddr *>(&address), &bytes) < 0 ? -errno : 0;
  End remote = toEnd(status, address);
  Napi::Object out = Napi::Object::New(info.Env());
  out["status"] = local.status == 0 && remote.status != -ENOTCONN ? remote.status : local.status;
  out["localIp"] = local.ip;
  out["localPort"] = local.port;
  out["remoteIp"] = remote.ip;
  out["remotePort"] = remote.port;
  return out;
}

// The duplicates a thread holds: a worker that is ended from outside runs no more code of its own, and what it leaves
// open would keep a pod's namespace alive and a listener that nobody accepts on.
struct Duplicates {
  std::set<int> fds;
  ~Duplicates() {
    for (int fd : fds)
      close(fd);
  }
};

// duplicate(fd): fd, closed by closeFd() or with the thread
static Napi::Value duplicate(const Napi::CallbackInfo &info) {
  int fd = fcntl(toInt(info[0]), F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  info.Env().GetInstanceData<Duplicates>()->fds.insert(fd);
  return Napi::Number::New(info.Env(), fd);
}

// closeFd(fd): status. fs.closeSync would warn, in a worker, of every fd that fs did not open there.
static Napi::Value closeFd(const Napi::CallbackInfo &info) {
  int fd = toInt(info[0]);
  info.Env().GetInstanceData<Duplicates>()->fds.erase(fd);
  return Napi::Number::New(info.Env(), close(fd) < 0 ? -errno : 0);
}

void exportSockets(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Duplicates); // freed, and so closed, at the end of the thread
  exports["socketIn"] = Napi::Function::New(env, socketIn);
  exports["listenIn"] = Napi::Function::New(env, listenIn);
  exports["bindSocket"] = Napi::Function::New(env, bindSocket);
  exports["bindSource"] = Napi::Function::New(env, bindSource);
  exports["setUserTimeout"] = Napi::Function::New(env, setUserTimeout);
  exports["userTimeout"] = Napi::Function::New(env, userTimeout);
  exports["setKeepalive"] = Napi::Function::New(env, setKeepalive);
  exports["keepalive"] = Napi::Function::New(env, keepalive);
  exports["socketCookie"] = Napi::Function::New(env, socketCookie);
  exports["isListening"] = Napi::Function::New(env, isListening);
  exports["netnsCookie"] = Napi::Function::New(env, netnsCookie);
  exports["ends"] = Napi::Function::New(env, ends);
  exports["duplicate"] = Napi::Function::New(env, duplicate);
  exports["closeFd"] = Napi::Function::New(env, closeFd);
}
