/* SPDX-License-Identifier: GPL-2.0 */
/* Where IPv4 and IPv6 meet: every program turns what it is given into struct address first and decides on that alone.
 */
#ifndef WEFT_ADDR_H
#define WEFT_ADDR_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "mesh.h"

#define AF_INET 2
#define AF_INET6 10
#define MAPPED bpf_htonl(0xffff)
#define LOOPBACK bpf_htonl(0x7f000001)

static __always_inline void set_v4(struct address *a, __u32 ip, __u16 port) {
  a->ip[0] = 0;
  a->ip[1] = 0;
  a->ip[2] = MAPPED;
  a->ip[3] = ip;
  a->port = port;
  a->zero = 0;
}

static __always_inline int is_loopback(__u32 ip) {
  return (ip & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

/* Any of 127.0.0.0/8, and 0.0.0.0, which connect() takes for 127.0.0.1. */
static __always_inline int stays_inside(const struct address *a) {
  return is_loopback(a->ip[3]) || a->ip[3] == 0;
}

/* 127.0.0.1 and its other spelling 0.0.0.0: where the listeners are. */
static __always_inline int is_listener_ip(const struct address *a) {
  return a->ip[3] == LOOPBACK || a->ip[3] == 0;
}

/* Both ends of a sockops socket. Returns 0 where the connection is true IPv6, which is not captured. */
static __always_inline int ends_of(struct bpf_sock_ops *ctx, struct address *local, struct address *remote) {
  if (ctx->family == AF_INET6) {
    if (ctx->remote_ip6[0] || ctx->remote_ip6[1] || ctx->remote_ip6[2] != MAPPED) return 0;
  } else if (ctx->family != AF_INET) {
    return 0;
  }
  /* local_port is in host order, remote_port is 32 bits of network order */
  set_v4(local, ctx->local_ip4, bpf_htons(ctx->local_port));
  set_v4(remote, ctx->remote_ip4, bpf_htons(bpf_ntohl(ctx->remote_port)));
  return 1;
}

#endif
