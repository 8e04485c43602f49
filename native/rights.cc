// fds from one process to another, over a Unix socket (SCM_RIGHTS, unix(7)): how an agent hands its listeners to the
// one that takes its place. One message a call; both sides wait, for a bounded time, and only root can connect.
#include "addon.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

constexpr size_t MOST_FDS = 64;
constexpr size_t MOST_BYTES = 64 * 1024;

static int toInt(const Napi::Value &value) {
  return value.As<Napi::Number>().Int32Value();
}

static int unixSocket(const std::string &path, sockaddr_un &address) {
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return -ENAMETOOLONG;
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  return fd < 0 ? -errno : fd;
}

static void waitAtMost(int fd, int ms) {
  timeval patience{ms / 1000, (ms % 1000) * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

// unixListen(path): listening fd, non-blocking, for root alone
static Napi::Value unixListen(const Napi::CallbackInfo &info) {
  std::string path = info[0].As<Napi::String>();
  sockaddr_un address{};
  int fd = unixSocket(path, address);
  if (fd < 0) return Napi::Number::New(info.Env(), fd);
  mode_t before = umask(0077);
  int status = bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) < 0 ? -errno : 0;
  umask(before);
  if (status == 0 && listen(fd, 128) < 0) status = -errno;
  if (status < 0) {
    close(fd);
    fd = status;
  }
  return Napi::Number::New(info.Env(), fd);
}

// unixConnect(path, waitMs): fd whose sends and receives wait at most so long
static Napi::Value unixConnect(const Napi::CallbackInfo &info) {
  sockaddr_un address{};
  int fd = unixSocket(info[0].As<Napi::String>(), address);
  if (fd < 0) return Napi::Number::New(info.Env(), fd);
  waitAtMost(fd, toInt(info[1]));
  if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) < 0) {
    int status = -errno;
    close(fd);
    fd = status;
  }
  return Napi::Number::New(info.Env(), fd);
}

// blockFor(fd, waitMs): status; an accepted socket waits from now on, at most so long
static Napi::Value blockFor(const Napi::CallbackInfo &info) {
  int fd = toInt(info[0]), flags = 0;
  waitAtMost(fd, toInt(info[1]));
  flags = fcntl(fd, F_GETFL);
  int status = flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
  return Napi::Number::New(info.Env(), status);
}

// sendFds(fd, bytes, fds: Int32Array): status
static Napi::Value sendFds(const Napi::CallbackInfo &info) {
  Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
  Napi::Int32Array fds = info[2].As<Napi::Int32Array>();
  size_t length = fds.ElementLength() * sizeof(int);
  if (fds.ElementLength() > MOST_FDS || bytes.ByteLength() > MOST_BYTES)
    return Napi::Number::New(info.Env(), -EMSGSIZE);
  iovec part{bytes.Data(), bytes.ByteLength()};
  alignas(cmsghdr) char control[CMSG_SPACE(MOST_FDS * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (length > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(length);
    cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(rights), fds.Data(), length);
  }
  ssize_t sent = sendmsg(toInt(info[0]), &message, MSG_NOSIGNAL);
  return Napi::Number::New(info.Env(), sent < 0 ? -errno : 0);
}

// receiveFds(fd): { status, bytes, fds }; status 0 with no bytes = the other end has closed
static Napi::Value receiveFds(const Napi::CallbackInfo &info) {
  std::vector<char> bytes(MOST_BYTES);
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(MOST_FDS * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t length = recvmsg(toInt(info[0]), &message, MSG_CMSG_CLOEXEC);
  int status = length < 0 ? -errno : 0;
  std::vector<int> fds;
  for (cmsghdr *each = length < 0 ? nullptr : CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    const int *first = reinterpret_cast<const int *>(CMSG_DATA(each));
    fds.insert(fds.end(), first, first + count);
  }
  if (status == 0 && message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) status = -EMSGSIZE;
  if (status < 0) {
    for (int fd : fds)
      close(fd);
    fds.clear();
  }
  Napi::Object out = Napi::Object::New(info.Env());
  Napi::Uint8Array read = Napi::Uint8Array::New(info.Env(), status < 0 ? 0 : size_t(length));
  if (read.ByteLength() > 0) memcpy(read.Data(), bytes.data(), read.ByteLength());
  Napi::Int32Array given = Napi::Int32Array::New(info.Env(), fds.size());
  for (size_t i = 0; i < fds.size(); i++)
    given[i] = fds[i];
  out["status"] = status;
  out["bytes"] = read;
  out["fds"] = given;
  return out;
}

void exportRights(Napi::Env env, Napi::Object exports) {
  exports["unixListen"] = Napi::Function::New(env, unixListen);
  exports["unixConnect"] = Napi::Function::New(env, unixConnect);
  exports["blockFor"] = Napi::Function::New(env, blockFor);
  exports["sendFds"] = Napi::Function::New(env, sendFds);
  exports["receiveFds"] = Napi::Function::New(env, receiveFds);
}
