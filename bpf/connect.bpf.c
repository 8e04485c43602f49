// SPDX-License-Identifier: GPL-2.0
/* connect(): turns a captured pod's TCP connects to the outbound listener and remembers where they were going. Also
 * marks the node's probes, which pass to their pod whether an agent lives or not. */
#include "addr.h"
#include "maps.h"

#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define SOL_SOCKET 1
#define SO_BINDTODEVICE 25
#define ECONNREFUSED 111

enum verdict { REFUSE = 0, LEAVE = 1, TURN = 2 };

struct pods_map pods SEC(".maps");
struct probes_map probes SEC(".maps");
struct prober_map prober SEC(".maps");
struct excluded_ports_map excluded_ports SEC(".maps");
struct excluded_blocks_map excluded_blocks SEC(".maps");
struct own_map own SEC(".maps");
/* On an application's socket: the address that getpeername tells instead of the true one. */
struct address_map peers SEC(".maps");
struct counted_map counted SEC(".maps");
struct counters_map counters SEC(".maps");

/* As a closed port would: applications try again. */
static __always_inline enum verdict refuse(enum counter why) {
  count(why);
  bpf_set_retval(-ECONNREFUSED);
  return REFUSE;
}

/* Not turned: a socket that was connected elsewhere before must not keep that name. */
static __always_inline enum verdict leave(struct bpf_sock *sk) {
  bpf_sk_storage_delete(&peers, sk);
  return LEAVE;
}

/* To where a pod's traffic is nobody's: it is not counted either. */
static __always_inline enum verdict leave_inside(struct bpf_sock *sk) {
  bpf_sk_storage_delete(&counted, sk);
  return leave(sk);
}

static __always_inline int is_prober(void) {
  __u32 key = 0;
  struct prober *known = bpf_map_lookup_elem(&prober, &key);

  return !known || !known->cgroup || bpf_get_current_ancestor_cgroup_id(known->level) == known->cgroup;
}

/* A socket of the node's own namespace: a probe where it dials what a pod's spec declares as one. */
static __always_inline enum verdict probe(struct bpf_sock *sk, const struct address *to) {
  __u64 *callee = bpf_map_lookup_elem(&probes, to);
  struct own *mark;

  if (!callee || !is_prober()) {
    /* a socket that was a probe before is none any more */
    bpf_sk_storage_delete(&own, sk);
    return LEAVE;
  }
  mark = bpf_sk_storage_get(&own, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!mark) return LEAVE;
  mark->callee = *callee;
  mark->entry.path = PATH_PROBE;
  count(COUNT_PROBES);
  return LEAVE;
}

static __always_inline int is_excluded(const struct pod *pod, const struct address *to) {
  struct excluded_port port = {.cookie = pod->cookie, .port = to->port, .direction = DIALLED};
  struct excluded_block block = {.bits = 96 + 128, .cookie = pod->cookie};

  if (pod->flags & POD_PORTS && bpf_map_lookup_elem(&excluded_ports, &port)) return 1;
  if (!(pod->flags & POD_BLOCKS)) return 0;
  block.family = is_v4(to) ? 4 : 6;
  __builtin_memcpy(block.ip, to->ip, sizeof(block.ip));
  return bpf_map_lookup_elem(&excluded_blocks, &block) != NULL;
}

/* Whether a listener of the proxy's is at this port of the pod's loopback: not one that the pod put there instead. */
static __always_inline int has_agent(struct bpf_sock_addr *ctx, __u16 port, int v6) {
  struct bpf_sock_tuple at = {};
  struct bpf_sock *listener;
  int found;

  if (v6) {
    at.ipv6.daddr[3] = bpf_htonl(1);
    at.ipv6.dport = port;
    listener = bpf_sk_lookup_tcp(ctx, &at, sizeof(at.ipv6), BPF_F_CURRENT_NETNS, 0);
  } else {
    at.ipv4.daddr = LOOPBACK;
    at.ipv4.dport = port;
    listener = bpf_sk_lookup_tcp(ctx, &at, sizeof(at.ipv4), BPF_F_CURRENT_NETNS, 0);
  }
  if (!listener) return 0;
  found = bpf_sk_storage_get(&own, listener, 0, 0) != NULL;
  bpf_sk_release(listener);
  return found;
}

static __always_inline int remember(struct bpf_sock *sk, const struct address *to, enum passage path) {
  struct tally_key *key = bpf_sk_storage_get(&counted, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

  if (!key) {
    count(COUNT_NO_MEMORY);
    return 0;
  }
  key->remote = *to;
  key->direction = DIALLED;
  key->path = path;
  return 1;
}

static __always_inline enum verdict leave_counted(struct bpf_sock *sk, const struct address *to) {
  remember(sk, to, PATH_DIRECT);
  return leave(sk);
}

/* What cannot be turned goes the way it would without an agent. */
static __always_inline enum verdict leave_or_refuse(const struct pod *pod, struct bpf_sock *sk,
                                                    const struct address *to) {
  if (pod->flags & POD_CLOSED) return refuse(COUNT_LOST);
  count(COUNT_OPENED);
  return leave_counted(sk, to);
}

/* A SYN to loopback through eth0 would hang. Taking the binding off needs what putting it on does not: CAP_NET_RAW. */
static __always_inline int unbind(struct bpf_sock_addr *ctx) {
  char none[4] = {};

  return !bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none));
}

/* Decides, and remembers the destination of what is to be turned. */
static __always_inline enum verdict decide(struct bpf_sock_addr *ctx, const struct address *to, struct pod **whose) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct pod *pod = bpf_map_lookup_elem(&pods, &cookie);
  struct bpf_sock *sk;
  int v6;

  if (!pod) /* all that a pod which did not join ever pays */
    return LEAVE;
  sk = ctx->sk; /* loaded once: clang may else keep a pointer that the verifier no longer trusts */
  if (pod->flags & POD_NODE) return probe(sk, to);
  if (stays_inside(to)) {
    if (!is_listener_port(pod, to)) return leave_inside(sk);
    count(COUNT_DIRECT); /* the proxy's own sockets too: the loop guard */
    return REFUSE;
  }
  if (bpf_sk_storage_get(&own, sk, 0, 0)) return LEAVE;
  if (pod->flags & POD_PENDING) return refuse(COUNT_PENDING);
  if (pod->flags & POD_LEAVING) return leave_counted(sk, to);
  if (is_excluded(pod, to)) {
    count(COUNT_EXCLUDED);
    return leave_counted(sk, to);
  }
  if (is_link_local(to)) return leave_or_refuse(pod, sk, to); /* the proxy does not know of which link */
  v6 = !is_v4(to) && pod->outbound6;
  if (pod->flags & POD_DEAF || !has_agent(ctx, v6 ? pod->outbound6 : pod->outbound4, v6))
    return leave_or_refuse(pod, sk, to);
  if (sk->bound_dev_if && !unbind(ctx)) return leave_or_refuse(pod, sk, to);
  struct address *peer = bpf_sk_storage_get(&peers, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!peer || !remember(sk, to, PATH_PROXY)) return refuse(COUNT_NO_MEMORY);
  *peer = *to;
  count(COUNT_CAPTURED);
  *whose = pod;
  return TURN;
}

static __always_inline int is_tcp(struct bpf_sock_addr *ctx) {
  return ctx->type == SOCK_STREAM && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP);
}

/* One of the loopback addresses that stand for the listener: its inbound program knows its own by their origin. */
static __always_inline __u32 some_loopback(void) {
  return bpf_htonl(0x7f000001 + bpf_get_prandom_u32() % SPREAD);
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *ctx) {
  struct pod *pod = NULL;
  struct address to;

  if (!is_tcp(ctx)) return LEAVE;
  set_v4(&to, ctx->user_ip4, ctx->user_port);
  enum verdict verdict = decide(ctx, &to, &pod);
  if (verdict != TURN || !pod) return verdict;
  ctx->user_ip4 = some_loopback();
  ctx->user_port = pod->outbound4;
  return LEAVE;
}

SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *ctx) {
  struct pod *pod = NULL;
  struct address to;

  if (!is_tcp(ctx)) return LEAVE;
  SET_V6(&to, ctx->user_ip6, ctx->user_port);
  enum verdict verdict = decide(ctx, &to, &pod);
  if (verdict != TURN || !pod) return verdict;
  ctx->user_ip6[0] = 0;
  ctx->user_ip6[1] = 0;
  if (is_v4(&to) || !pod->outbound6) {
    /* IPv4 from an AF_INET6 socket, or a pod that has IPv6 but no ::1 */
    ctx->user_ip6[2] = MAPPED;
    ctx->user_ip6[3] = some_loopback();
    ctx->user_port = pod->outbound4;
  } else {
    /* there is one loopback address only, so the ports are spread */
    ctx->user_ip6[2] = 0;
    ctx->user_ip6[3] = bpf_htonl(1);
    __u16 port = bpf_ntohs(pod->outbound6) + bpf_get_prandom_u32() % SPREAD;
    ctx->user_port = port > SPREAD ? bpf_htons(port) : pod->outbound6;
  }
  return LEAVE;
}

char LICENSE[] SEC("license") = "GPL";
