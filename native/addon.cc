// Entry of the addon.
#include "addon.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  exportPrograms(env, exports);
  exportSockets(env, exports);
  exportDiag(env, exports);
  exportRights(env, exports);
  exportAcceptor(env, exports);
  exportChannels(env, exports);
  exportTls(env, exports);
  return exports;
}

NODE_API_MODULE(weft, init)
