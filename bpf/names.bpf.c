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

/* Only IPv4 is ever remembered, so the name is a mapped address, as the true one was. */
SEC("cgroup/getpeername6")
int weft_getpeer6(struct bpf_sock_addr *ctx) {
  struct address *peer = bpf_sk_storage_get(&peers, ctx->sk, 0, 0);

  if (peer) {
    ctx->user_ip6[3] = peer->ip[3];
    ctx->user_port = peer->port;
  }
  return 1;
}

/* The pod whose address a captured socket shows instead of 127.0.0.1, or NULL. */
static __always_inline struct pod *shown_pod(struct bpf_sock_addr *ctx, __u32 ip) {
  if (ip != LOOPBACK || !bpf_sk_storage_get(&peers, ctx->sk, 0, 0)) return NULL;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  return bpf_map_lookup_elem(&pods, &cookie);
}

SEC("cgroup/getsockname4")
int weft_getsock4(struct bpf_sock_addr *ctx) {
  struct pod *pod = shown_pod(ctx, ctx->user_ip4);

  if (pod) ctx->user_ip4 = pod->shown.ip[3];
  return 1;
}

SEC("cgroup/getsockname6")
int weft_getsock6(struct bpf_sock_addr *ctx) {
  if (ctx->user_ip6[0] || ctx->user_ip6[1] || ctx->user_ip6[2] != MAPPED) return 1;
  struct pod *pod = shown_pod(ctx, ctx->user_ip6[3]);

  if (pod) ctx->user_ip6[3] = pod->shown.ip[3];
  return 1;
}

char LICENSE[] SEC("license") = "GPL";
