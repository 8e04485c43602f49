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

/* A macro, because `from` is a field of a program's argument: clang may else keep a pointer to it, which the verifier
 * does not trust. */
#define SET_V6(a, from, its_port)                                                                                      \
  do {                                                                                                                 \
    (a)->ip[0] = (from)[0];                                                                                            \
    (a)->ip[1] = (from)[1];                                                                                            \
    (a)->ip[2] = (from)[2];                                                                                            \
    (a)->ip[3] = (from)[3];                                                                                            \
    (a)->port = (its_port);                                                                                            \
    (a)->zero = 0;                                                                                                     \
  } while (0)

static __always_inline int is_v4(const struct address *a) {
  return !a->ip[0] && !a->ip[1] && a->ip[2] == MAPPED;
}

static __always_inline int same_ip(const struct address *a, const struct address *b) {
  return a->ip[0] == b->ip[0] && a->ip[1] == b->ip[1] && a->ip[2] == b->ip[2] && a->ip[3] == b->ip[3];
}

static __always_inline int is_loopback4(__u32 ip) {
  return (ip & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

/* Whether a connection to it stays in its namespace: 127.0.0.0/8, ::1, and 0.0.0.0 and ::, which connect() takes for
 * 127.0.0.1 and ::1. */
static __always_inline int stays_inside(const struct address *a) {
  if (is_v4(a)) return is_loopback4(a->ip[3]) || a->ip[3] == 0;
  return !a->ip[0] && !a->ip[1] && !a->ip[2] && (a->ip[3] == bpf_htonl(1) || a->ip[3] == 0);
}

/* fe80::/10: means something only together with a link. */
static __always_inline int is_link_local(const struct address *a) {
  return (a->ip[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Whether a port is one of our listeners', of the family that is dialled: the other may be an application's. */
static __always_inline int is_listener_port(const struct pod *pod, const struct address *to) {
  if (!to->port) return 0;
  if (is_v4(to)) return to->port == pod->outbound4 || to->port == pod->inbound4;
  return to->port == pod->outbound6 || to->port == pod->inbound6;
}

/* Both ends of a sockops socket. Returns 0 where it is neither IPv4 nor IPv6. */
static __always_inline int ends_of(struct bpf_sock_ops *ctx, struct address *local, struct address *remote) {
  /* local_port is in host order, remote_port is 32 bits of network order */
  __u16 local_port = bpf_htons(ctx->local_port), remote_port = bpf_htons(bpf_ntohl(ctx->remote_port));

  if (ctx->family == AF_INET) {
    set_v4(local, ctx->local_ip4, local_port);
    set_v4(remote, ctx->remote_ip4, remote_port);
    return 1;
  }
  if (ctx->family != AF_INET6) return 0;
  SET_V6(local, ctx->local_ip6, local_port);
  SET_V6(remote, ctx->remote_ip6, remote_port);
  return 1;
}

#endif
