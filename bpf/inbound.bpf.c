// SPDX-License-Identifier: GPL-2.0
/* sk_lookup, one program a pod with maps of its own: gives the pod's incoming TCP connections to the inbound listener,
 * whichever of the pod's addresses they ask for, and those that connect4/6 turned to the outbound one. Passed are only
 * connections inside the pod, those that the proxy or a probe announced, and excluded ports. What asks for a port where
 * no application listens is refused: dropped and not passed, because the stack answers both with a reset, and a
 * listener that the set does not know is then closed and not open past the proxy. */
#include "addr.h"
#include "ports.h"
#include "maps.h"

#define IPPROTO_TCP 6

/* That of connect.bpf.c, which an agent has once. */
struct excluded_ports_map excluded_ports SEC(".maps");

/* What pods has for this pod: the programs of a node have no cookie here to look it up by. User space writes. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct pod);
} gate SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, SLOTS);
  __type(key, __u32);
  __type(value, __u64);
} listeners SEC(".maps");

/* The inner map of `origins` in handshake.bpf.c, which writes it. The bound is set at load, as that of the next two. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct flow);
  __type(value, struct address);
} turned SEC(".maps");

/* The inner map of `entries` in handshake.bpf.c, which writes it. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct flow);
  __type(value, struct entry);
} arrivals SEC(".maps");

/* The inner map of `listening` in handshake.bpf.c, which writes it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, PORTS_GROUPS);
  __type(key, __u32);
  __type(value, struct ports);
} ports SEC(".maps");

/* The inner map of `tallies` in tally.h, which writes it; here with the others that a pod has of its own. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct tally_key);
  __type(value, struct tally);
} sums SEC(".maps");

/* Places of listeners that the programs have not seen start -> 1. User space writes. */
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

static __always_inline int is_open(const struct address *at, __u32 port) {
  __u64 places[3] = {place_of(folded(at->ip, MAPPED), port), place_of(1, port), 0};
  __u32 group = port % PORTS_GROUPS;
  struct ports *known = bpf_map_lookup_elem(&ports, &group);

  places[2] = is_v4(at) ? place_of(0, port) : places[1];
  if (!known || is_held(known, places)) return 1;
  return bpf_map_lookup_elem(&older, &places[0]) || bpf_map_lookup_elem(&older, &places[1]) ||
         bpf_map_lookup_elem(&older, &places[2]);
}

/* Gives the connection to a listener of the proxy. Returns 0 where there is none that could take it. */
static __always_inline int give(struct bpf_sk_lookup *ctx, __u32 slot) {
  struct bpf_sock *sk = bpf_map_lookup_elem(&listeners, &slot);
  long refused;

  if (!sk) return 0;
  refused = bpf_sk_assign(ctx, sk, 0);
  bpf_sk_release(sk);
  return !refused;
}

/* A SYN to loopback. From inside it is the application's own affair, or one that connect4/6 turned. From a stranger it
 * is one that the pod's own rules (TPROXY, DNAT) try to bring past the proxy. */
static __always_inline int inside(struct bpf_sk_lookup *ctx, const struct pod *pod, const struct flow *flow) {
  const struct address *from = &flow->source;

  if (bpf_map_lookup_elem(&turned, flow))
    return give(ctx, is_v4(&flow->destination) ? SLOT_OUTBOUND4 : SLOT_OUTBOUND6) ? SK_PASS : SK_DROP;
  if (stays_inside(from) || same_ip(from, &pod->shown4) || same_ip(from, &pod->shown6)) return SK_PASS;
  return leave_with(INBOUND_DROPPED, SK_DROP);
}

static __always_inline int is_excluded(const struct pod *pod, __u16 port) {
  struct excluded_port key = {.cookie = pod->cookie, .port = port, .direction = ACCEPTED};

  return pod->flags & POD_PORTS && bpf_map_lookup_elem(&excluded_ports, &key);
}

static __always_inline int arriving(struct bpf_sk_lookup *ctx, const struct pod *pod, const struct flow *flow) {
  const struct address *to = &flow->destination;
  int ours = is_listener_port(pod, to);

  if (bpf_map_lookup_elem(&arrivals, flow)) return leave_with(INBOUND_LET, SK_PASS);
  if (ours && !(pod->flags & POD_PROVED)) return leave_with(INBOUND_DROPPED, SK_DROP);
  if (pod->flags & POD_PENDING) return leave_with(INBOUND_LOST, SK_DROP);
  if (is_excluded(pod, to->port)) return leave_with(INBOUND_EXCLUDED, SK_PASS);
  if (is_link_local(to)) /* the proxy does not know of which link */
    return pod->flags & POD_CLOSED ? leave_with(INBOUND_LOST, SK_DROP) : leave_with(INBOUND_OPENED, SK_PASS);
  if (!ours && !is_open(to, ctx->local_port)) return leave_with(INBOUND_CLOSED, SK_DROP);
  if (!(pod->flags & POD_DEAF) && give(ctx, is_v4(to) ? SLOT_INBOUND4 : SLOT_INBOUND6))
    return leave_with(INBOUND_STEERED, SK_PASS);
  if (pod->flags & POD_CLOSED) return leave_with(INBOUND_LOST, SK_DROP);
  return leave_with(INBOUND_OPENED, SK_PASS);
}

SEC("sk_lookup")
int weft_inbound(struct bpf_sk_lookup *ctx) {
  struct pod *pod;
  struct flow flow;
  __u32 key = 0;

  if (ctx->protocol != IPPROTO_TCP) return SK_PASS;
  if (ctx->family == AF_INET) {
    set_v4(&flow.source, ctx->remote_ip4, ctx->remote_port);
    set_v4(&flow.destination, ctx->local_ip4, bpf_htons(ctx->local_port));
  } else {
    SET_V6(&flow.source, ctx->remote_ip6, ctx->remote_port);
    SET_V6(&flow.destination, ctx->local_ip6, bpf_htons(ctx->local_port));
  }
  pod = bpf_map_lookup_elem(&gate, &key);
  if (!pod) return SK_DROP;
  if (stays_inside(&flow.destination)) return inside(ctx, pod, &flow);
  /* ingress_ifindex does not tell loopback: a connect to the pod's own address has eth0 there. A stranger cannot send
   * from 127/8 or ::1, nor from the pod's own IPv4 address: the stack drops such packets as martians. From its own IPv6
   * address one can send, and never hear what is answered. */
  if (stays_inside(&flow.source) || same_ip(&flow.source, &flow.destination)) return SK_PASS;
  return arriving(ctx, pod, &flow);
}

char LICENSE[] SEC("license") = "GPL";
