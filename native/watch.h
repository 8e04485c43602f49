// One fd that the loop of the thread which made it watches for reading, until it is closed or the thread ends.
#pragma once

#include "addon.h"
#include <uv.h>

class Watch {
public:
  // Who is told. Both are called in the thread; `onThreadEnd` must close the watch.
  struct Owner {
    virtual void onReady(int status) = 0;
    virtual void onThreadEnd() = 0;

  protected:
    ~Owner() = default;
  };

  // Takes `fd` over, and closes it where that fails: `status` is -errno then, and the answer null.
  static Watch *open(Napi::Env env, int fd, Owner &owner, int &status);

  int fd() const { return fd_; }
  int start();
  int stop();
  // Whether it keeps the thread's loop alive.
  void keep(bool alive);
  // The owner hears nothing more; the loop closes the fd and frees this.
  void close();

private:
  Watch(int fd, Owner &owner) : fd_(fd), owner_(&owner) {}
  static void onEvent(uv_poll_t *handle, int status, int);
  static void onEnvironmentEnd(napi_async_cleanup_hook_handle, void *watch);

  uv_poll_t handle_;
  int fd_;
  Owner *owner_; // null once closed
  napi_async_cleanup_hook_handle hook_;
};
