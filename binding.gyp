{
  "targets": [
    {
      "target_name": "weft",
      "sources": [
        "native/addon.cc",
        "native/programs.cc",
        "native/sockets.cc",
        "native/diag.cc",
        "native/rights.cc",
        "native/acceptor.cc",
        "native/watch.cc",
        "native/channels.cc",
        "native/channels-calls.cc",
        "native/pump.cc",
        "native/pump-tls.cc",
        "native/channels-tls.cc",
        "native/tls.cc",
        "native/tls-credentials.cc",
        "native/bpf.c"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=9",
        "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
        "_GNU_SOURCE"
      ],
      "cflags": ["-Wall", "-Wextra", "-O2", "-fvisibility=hidden"],
      "cflags_cc": ["-std=c++20"],
      "ldflags": ["-Wl,--as-needed"]
    }
  ]
}
