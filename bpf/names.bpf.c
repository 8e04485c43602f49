// SPDX-License-Identifier: GPL-2.0
/* getpeername(), accept() and getsockname(): an application sees whom it dialled, who dialled it and its pod's address,
 * not the proxy in between. */
#include "addr.h"
#include "maps.h"

SEC("cgroup/getpeername4")
int weft_getpeer4(struct bpf_sock_addr *ctx) {
  struct address *peer = bpf_sk_storage_get(&peers, ctx->sk, 0, 0);

  if (peer) {
    ctx->user_ip4 = peer->ip[3];
    ctx->user_port = peer->port;
  }
  return 1;
}

SEC("cgroup/getpeername6")
int weft_getpeer6(struct bpf_sock_addr *ctx) {
  struct address *peer = bpf_sk_storage_get(&peers, ctx->sk, 0, 0);

  if (peer) {
    ctx->user_ip6[0] = peer->ip[0];
    ctx->user_ip6[1] = peer->ip[1];
    ctx->user_ip6[2] = peer->ip[2];
    ctx->user_ip6[3] = peer->ip[3];
    ctx->user_port = peer->port;
  }
  return 1;
}

/* The address that a captured socket shows instead of a loopback one, or NULL. */
static __always_inline struct address *shown(struct bpf_sock_addr *ctx, const struct address *is) {
  struct address *peer;
  struct pod *pod;

  if (!stays_inside(is)) return NULL;
  peer = bpf_sk_storage_get(&peers, ctx->sk, 0, 0);
  if (!peer) return NULL;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  pod = bpf_map_lookup_elem(&pods, &cookie);
  if (!pod) return NULL;
  return is_v4(peer) ? &pod->shown4 : &pod->shown6;
}

SEC("cgroup/getsockname4")
int weft_getsock4(struct bpf_sock_addr *ctx) {
  struct address is, *name;

  set_v4(&is, ctx->user_ip4, 0);
  name = shown(ctx, &is);
  if (name) ctx->user_ip4 = name->ip[3];
  return 1;
}

SEC("cgroup/getsockname6")
int weft_getsock6(struct bpf_sock_addr *ctx) {
  struct address is, *name;

  SET_V6(&is, ctx->user_ip6, 0);
  name = shown(ctx, &is);
  if (name) {
    ctx->user_ip6[0] = name->ip[0];
    ctx->user_ip6[1] = name->ip[1];
    ctx->user_ip6[2] = name->ip[2];
    ctx->user_ip6[3] = name->ip[3];
  }
  return 1;
}

char LICENSE[] SEC("license") = "GPL";
