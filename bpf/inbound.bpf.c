// SPDX-License-Identifier: GPL-2.0
/* sk_lookup, one program a pod with maps of its own: gives the pod's incoming TCP connections to the inbound listener,
 * whichever of the pod's addresses they ask for. Passed are only connections inside the pod and those that the proxy
 * announced. What asks for a port where no application listens is refused: dropped and not passed, because the stack
 * answers both with a reset, and a listener that the set does not know is then closed and not open past the proxy. IPv6
 * is left alone. */
#include "addr.h"
#include "ports.h"

#define IPPROTO_TCP 6

/* Filled in before the program is loaded; host byte order, as ctx->local_port is. */
const volatile __u16 outbound_port = 0;
const volatile __u16 inbound_port = 0;

struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} listener SEC(".maps");

/* The inner map of `entries` in handshake.bpf.c, which writes it. The bound is set at load. Sizes and not types, here
 * and below, as the templates in maps.h have them: Linux 5.15 to 6.1 take no inner map that has types where its
 * template has none. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(key_size, sizeof(struct flow));
  __uint(value_size, sizeof(struct address));
} arrivals SEC(".maps");

/* The inner map of `listening` in handshake.bpf.c, which writes it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, PORTS_GROUPS);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(struct ports));
} ports SEC(".maps");

/* Places of listeners that the programs have not seen start: place -> how many sockets. User space writes. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, OLDER_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u64);
  __type(value, __u32);
} older SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, INBOUND_COUNTERS);
  __type(key, __u32);
  __type(value, __u64);
} steering SEC(".maps");

static __always_inline int leave_with(enum inbound_counter which, int verdict) {
  __u32 key = which;
  __u64 *value = bpf_map_lookup_elem(&steering, &key);

  if (value) *value += 1;
  return verdict;
}

static __always_inline int is_open(__u32 ip, __u32 port) {
  __u64 place = place_of(ip, port), anywhere = place_of(0, port);
  __u32 group = port % PORTS_GROUPS;
  struct ports *known = bpf_map_lookup_elem(&ports, &group);

  if (!known || is_held(known, place, anywhere)) return 1;
  return bpf_map_lookup_elem(&older, &place) || bpf_map_lookup_elem(&older, &anywhere);
}

SEC("sk_lookup")
int weft_inbound(struct bpf_sk_lookup *ctx) {
  __u32 key = 0, port = ctx->local_port;
  struct bpf_sock *sk;
  struct flow flow;
  long refused;

  if (ctx->protocol != IPPROTO_TCP || ctx->family != AF_INET) return SK_PASS;
  set_v4(&flow.source, ctx->remote_ip4, ctx->remote_port);
  set_v4(&flow.destination, ctx->local_ip4, bpf_htons(port));
  /* ingress_ifindex does not tell loopback: a connect to the pod's own address has eth0 there. A stranger cannot send
   * to or from 127/8, nor from the pod's own address: the stack drops such packets as martians. */
  if (stays_inside(&flow.source) || stays_inside(&flow.destination)) return SK_PASS;
  if (flow.source.ip[3] == flow.destination.ip[3]) return SK_PASS;
  if (bpf_map_lookup_elem(&arrivals, &flow)) return leave_with(INBOUND_LET, SK_PASS);
  if (port == outbound_port || port == inbound_port) return leave_with(INBOUND_DROPPED, SK_DROP);
  if (!is_open(flow.destination.ip[3], port)) return leave_with(INBOUND_CLOSED, SK_DROP);
  sk = bpf_map_lookup_elem(&listener, &key);
  if (!sk) return leave_with(INBOUND_DROPPED, SK_DROP);
  refused = bpf_sk_assign(ctx, sk, 0);
  bpf_sk_release(sk);
  if (refused) return leave_with(INBOUND_DROPPED, SK_DROP);
  return leave_with(INBOUND_STEERED, SK_PASS);
}

char LICENSE[] SEC("license") = "GPL";
