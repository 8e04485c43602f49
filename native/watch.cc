#include "watch.h"
#include <cerrno>
#include <unistd.h>

Watch *Watch::open(Napi::Env env, int fd, Owner &owner, int &status) {
  uv_loop_t *loop = nullptr;
  Watch *watch = new Watch(fd, owner);
  watch->handle_.data = watch;
  status = napi_get_uv_event_loop(env, &loop) == napi_ok ? uv_poll_init(loop, &watch->handle_, fd) : -EINVAL;
  if (status < 0) {
    ::close(fd);
    delete watch;
    return nullptr;
  }
  // A worker that ends runs this; the handle has to leave its loop before the loop goes.
  napi_add_async_cleanup_hook(env, onEnvironmentEnd, watch, &watch->hook_);
  return watch;
}

int Watch::start() {
  return uv_poll_start(&handle_, UV_READABLE, onEvent);
}

int Watch::stop() {
  return uv_poll_stop(&handle_);
}

void Watch::keep(bool alive) {
  uv_handle_t *handle = reinterpret_cast<uv_handle_t *>(&handle_);
  if (alive)
    uv_ref(handle);
  else
    uv_unref(handle);
}

void Watch::close() {
  owner_ = nullptr;
  uv_close(reinterpret_cast<uv_handle_t *>(&handle_), [](uv_handle_t *handle) {
    Watch *closed = static_cast<Watch *>(handle->data);
    ::close(closed->fd_);
    napi_remove_async_cleanup_hook(closed->hook_);
    delete closed;
  });
}

void Watch::onEvent(uv_poll_t *handle, int status, int) {
  Watch *watch = static_cast<Watch *>(handle->data);
  if (watch->owner_) watch->owner_->onReady(status);
}

void Watch::onEnvironmentEnd(napi_async_cleanup_hook_handle, void *watch) {
  Owner *owner = static_cast<Watch *>(watch)->owner_;
  if (owner) owner->onThreadEnd();
}
