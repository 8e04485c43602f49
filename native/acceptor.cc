// Accepts on a listening fd in the loop of the thread that made it, and gives plain fds away: net.Server would wrap
// them before the proxy could choose how they are read. Its duplicate of the listening fd is its own.
//
//   open <--pause()/resume()--> paused;   either --close()--> closed.   Each step may be asked for twice.
#include "watch.h"
#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

class Acceptor : public Napi::ObjectWrap<Acceptor>, Watch::Owner {
public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Acceptor",
                       {InstanceMethod<&Acceptor::pause>("pause"), InstanceMethod<&Acceptor::resume>("resume"),
                        InstanceMethod<&Acceptor::drain>("drain"), InstanceMethod<&Acceptor::close>("close"),
                        InstanceAccessor<&Acceptor::status>("status")});
  }

  // new Acceptor(listener, batch, onAccepted(fds, status)): takes connections once resume() was called. onAccepted gets
  // at most `batch` fds a wake-up, and a status < 0 where accept(2) failed: level-triggered, so the caller must pause.
  explicit Acceptor(const Napi::CallbackInfo &info)
      : Napi::ObjectWrap<Acceptor>(info), batch_(info[1].As<Napi::Number>().Uint32Value()),
        onAccepted_(Napi::Persistent(info[2].As<Napi::Function>())), async_(info.Env(), "weft:accept"),
        status_(open(info[0].As<Napi::Number>().Int32Value())) {}

  ~Acceptor() override { release(); }

private:
  int open(int listener) {
    int fd = fcntl(listener, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return -errno;
    int status;
    watch_ = Watch::open(Env(), fd, *this, status);
    if (watch_) Ref(); // not collected while it is open, even if nobody holds it
    return status;
  }

  void onThreadEnd() override { release(); }

  // Safe to call twice.
  bool release() {
    if (!watch_) return false;
    watch_->close();
    watch_ = nullptr;
    return true;
  }

  // Accepts up to `limit` connections. Returns 0, or the -errno that ended it early.
  int take(uint32_t limit, std::vector<int> &fds) {
    while (fds.size() < limit) {
      int fd = accept4(watch_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0)
        fds.push_back(fd);
      else if (errno == EAGAIN || errno == EWOULDBLOCK)
        return 0; // also when another thread on the same listener was faster
      else if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO)
        return -errno;
    }
    return 0;
  }

  // An array of them, or an empty one where the thread is being ended and takes nothing any more: they are closed then.
  static Napi::Array toArray(Napi::Env env, const std::vector<int> &fds) {
    Napi::Array array = Napi::Array::New(env);
    uint32_t given = 0;
    while (given < fds.size() && napi_set_element(env, array, given, Napi::Number::New(env, fds[given])) == napi_ok)
      given++;
    for (uint32_t i = given; i < fds.size(); i++)
      ::close(fds[i]);
    return array;
  }

  void onReady(int status) override {
    Napi::HandleScope scope(Env());
    Napi::Env env = Env();
    std::vector<int> taken;
    if (status == 0) status = take(batch_, taken);
    if (taken.empty() && status == 0) return;
    Napi::Array fds = toArray(env, taken);
    if (fds.Length() < taken.size()) return;
    // Not by node-addon-api: a thread that is ended meanwhile takes no exception, and that would end the process.
    napi_value arguments[] = {fds, Napi::Number::New(env, status)}, error;
    if (napi_make_callback(env, async_, Value(), onAccepted_.Value(), 2, arguments, nullptr) == napi_ok) return;
    // onAccepted may have closed this acceptor: nothing of it is touched from here on.
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }

  Napi::Value pause(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), watch_ ? watch_->stop() : 0);
  }

  Napi::Value resume(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), watch_ ? watch_->start() : 0);
  }

  // drain(limit): what waits in the accept queue, now
  Napi::Value drain(const Napi::CallbackInfo &info) {
    std::vector<int> fds;
    if (watch_) take(info[0].As<Napi::Number>().Uint32Value(), fds);
    return toArray(info.Env(), fds);
  }

  Napi::Value close(const Napi::CallbackInfo &info) {
    if (release()) Unref();
    return info.Env().Undefined();
  }

  Napi::Value status(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), status_); }

  uint32_t batch_;
  Napi::FunctionReference onAccepted_;
  Napi::AsyncContext async_;
  Watch *watch_ = nullptr; // before status_: open() sets it
  int status_;
};

void exportAcceptor(Napi::Env env, Napi::Object exports) {
  exports["Acceptor"] = Acceptor::define(env);
}
