// SPDX-License-Identifier: GPL-2.0
/* connect(): turns a captured pod's TCP connects to the outbound listener and remembers where they were going. */
#include "addr.h"
#include "maps.h"

#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define SOL_SOCKET 1
#define SO_BINDTODEVICE 25

enum verdict { REFUSE = 0, LEAVE = 1, TURN = 2 };

struct pods_map pods SEC(".maps");
struct own_map own SEC(".maps");
/* On an application's socket: the address that getpeername tells instead of the true one. */
struct address_map peers SEC(".maps");
struct counters_map counters SEC(".maps");

/* Remembers the destination and says which port to turn to. */
static __always_inline enum verdict turn(struct bpf_sock_addr *ctx, const struct address *to, __u16 *port) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct pod *pod = bpf_map_lookup_elem(&pods, &cookie);
  struct bpf_sock *sk;

  if (!pod) /* all that a pod which did not join ever pays */
    return LEAVE;
  sk = ctx->sk; /* loaded once: clang may else keep a pointer that the verifier no longer trusts */
  if (is_listener_ip(to) && (to->port == pod->outbound || to->port == pod->inbound)) {
    count(COUNT_DIRECT); /* the proxy's own sockets too: the loop guard */
    return REFUSE;
  }
  if (stays_inside(to)) {
    /* a socket that was connected elsewhere before must not keep that name */
    bpf_sk_storage_delete(&peers, sk);
    return LEAVE;
  }
  if (bpf_sk_storage_get(&own, sk, 0, 0)) return LEAVE;
  struct address *peer = bpf_sk_storage_get(&peers, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!peer) {
    count(COUNT_NO_MEMORY);
    return REFUSE;
  }
  *peer = *to;
  if (sk->bound_dev_if) {
    /* a SYN to loopback through eth0 would hang */
    char none[4] = {};
    bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none));
  }
  *port = pod->outbound;
  count(COUNT_CAPTURED);
  return TURN;
}

static __always_inline int is_tcp(struct bpf_sock_addr *ctx) {
  return ctx->type == SOCK_STREAM && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP);
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *ctx) {
  struct address to;
  __u16 port = 0;

  if (!is_tcp(ctx)) return LEAVE;
  set_v4(&to, ctx->user_ip4, ctx->user_port);
  enum verdict verdict = turn(ctx, &to, &port);
  if (verdict != TURN) return verdict;
  ctx->user_ip4 = LOOPBACK;
  ctx->user_port = port;
  return LEAVE;
}

/* An AF_INET6 socket that dials an IPv4 address. True IPv6 is left alone. */
SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *ctx) {
  struct address to;
  __u16 port = 0;

  if (!is_tcp(ctx) || ctx->user_ip6[0] || ctx->user_ip6[1] || ctx->user_ip6[2] != MAPPED) return LEAVE;
  set_v4(&to, ctx->user_ip6[3], ctx->user_port);
  enum verdict verdict = turn(ctx, &to, &port);
  if (verdict != TURN) return verdict;
  ctx->user_ip6[3] = LOOPBACK;
  ctx->user_port = port;
  return LEAVE;
}

char LICENSE[] SEC("license") = "GPL";
