// Accepts on a listening fd in the loop of the thread that made it, and gives plain fds away: net.Server would wrap
// them before the proxy could choose how they are read. Its duplicate of the listening fd is its own.
//
//   open <--pause()/resume()--> paused;   either --close()--> closed.   Each step may be asked for twice.
#include "addon.h"
#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include <vector>

class Acceptor;

// The part that libuv holds. It outlives the JavaScript object until uv_close has called back.
struct Poll {
  uv_poll_t handle;
  int listener;
  Acceptor *acceptor; // null once closed
  napi_async_cleanup_hook_handle hook;
};

class Acceptor : public Napi::ObjectWrap<Acceptor> {
public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Acceptor",
                       {InstanceMethod<&Acceptor::pause>("pause"), InstanceMethod<&Acceptor::resume>("resume"),
                        InstanceMethod<&Acceptor::drain>("drain"), InstanceMethod<&Acceptor::close>("close"),
                        InstanceAccessor<&Acceptor::status>("status")});
  }

  // new Acceptor(listener, batch, onReady(fds, status)): takes connections once resume() was called. onReady gets at
  // most `batch` fds a wake-up, and a status < 0 where accept(2) failed: level-triggered, so the caller must pause.
  explicit Acceptor(const Napi::CallbackInfo &info)
      : Napi::ObjectWrap<Acceptor>(info), batch_(info[1].As<Napi::Number>().Uint32Value()),
        onReady_(Napi::Persistent(info[2].As<Napi::Function>())), async_(info.Env(), "weft:accept"),
        status_(open(info[0].As<Napi::Number>().Int32Value())) {}

  ~Acceptor() override { release(); }

private:
  int open(int listener) {
    uv_loop_t *loop = nullptr;
    if (napi_get_uv_event_loop(Env(), &loop) != napi_ok) return -EINVAL;
    int fd = fcntl(listener, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return -errno;
    Poll *poll = new Poll{};
    int status = uv_poll_init(loop, &poll->handle, fd);
    if (status < 0) {
      ::close(fd);
      delete poll;
      return status;
    }
    poll->listener = fd;
    poll->acceptor = this;
    // A worker that ends runs this; the handle has to leave its loop before the loop goes.
    napi_add_async_cleanup_hook(Env(), onEnvironmentEnd, poll, &poll->hook);
    poll_ = poll;
    Ref(); // not collected while it is open, even if nobody holds it
    return 0;
  }

  static void onEnvironmentEnd(napi_async_cleanup_hook_handle, void *arg) {
    Poll *poll = static_cast<Poll *>(arg);
    if (poll->acceptor) poll->acceptor->release();
  }

  // Hands the fd back to libuv to be closed. Safe to call twice.
  bool release() {
    if (!poll_) return false;
    Poll *poll = poll_;
    poll_ = nullptr;
    poll->acceptor = nullptr;
    uv_close(reinterpret_cast<uv_handle_t *>(&poll->handle), [](uv_handle_t *handle) {
      Poll *closed = reinterpret_cast<Poll *>(handle);
      ::close(closed->listener);
      napi_remove_async_cleanup_hook(closed->hook);
      delete closed;
    });
    return true;
  }

  // Accepts up to `limit` connections. Returns 0, or the -errno that ended it early.
  int take(uint32_t limit, std::vector<int> &fds) {
    while (fds.size() < limit) {
      int fd = accept4(poll_->listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
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

  static void onReadable(uv_poll_t *handle, int status, int) {
    Poll *poll = reinterpret_cast<Poll *>(handle);
    if (poll->acceptor) poll->acceptor->wake(status);
  }

  void wake(int status) {
    Napi::HandleScope scope(Env());
    Napi::Env env = Env();
    std::vector<int> taken;
    if (status == 0) status = take(batch_, taken);
    if (taken.empty() && status == 0) return;
    Napi::Array fds = toArray(env, taken);
    if (fds.Length() < taken.size()) return;
    // Not by node-addon-api: a thread that is ended meanwhile takes no exception, and that would end the process.
    napi_value arguments[] = {fds, Napi::Number::New(env, status)}, error;
    if (napi_make_callback(env, async_, Value(), onReady_.Value(), 2, arguments, nullptr) == napi_ok) return;
    // onReady may have closed this acceptor: nothing of it is touched from here on.
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }

  Napi::Value pause(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), poll_ ? uv_poll_stop(&poll_->handle) : 0);
  }

  Napi::Value resume(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), poll_ ? uv_poll_start(&poll_->handle, UV_READABLE, onReadable) : 0);
  }

  // drain(limit): what waits in the accept queue, now
  Napi::Value drain(const Napi::CallbackInfo &info) {
    std::vector<int> fds;
    if (poll_) take(info[0].As<Napi::Number>().Uint32Value(), fds);
    return toArray(info.Env(), fds);
  }

  Napi::Value close(const Napi::CallbackInfo &info) {
    if (release()) Unref();
    return info.Env().Undefined();
  }

  Napi::Value status(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), status_); }

  uint32_t batch_;
  Napi::FunctionReference onReady_;
  Napi::AsyncContext async_;
  Poll *poll_ = nullptr; // before status_: open() sets it
  int status_;
};

void exportAcceptor(Napi::Env env, Napi::Object exports) {
  exports["Acceptor"] = Acceptor::define(env);
}
