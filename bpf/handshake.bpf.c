// SPDX-License-Identifier: GPL-2.0
/* sockops: keeps the set of listening ports (ports.h), and carries an address over a TCP handshake, from the socket
 * that dials to the socket that is accepted.
 *
 *   caller's socket   TCP_CONNECT_CB ----> entry in a map ----> PASSIVE_ESTABLISHED_CB   accepted socket
 *   (source port chosen, SYN not yet sent)                      (before accept() can return it)
 *
 *   application -> outbound listener: the original destination, through the caller's `origins`
 *   proxy -> application:             the client to show,       through the callee's `entries`
 *
 * The socket that wrote an entry deletes it when it closes, so a handshake that never completes leaves nothing. It
 * cannot delete another's: entries are per netns cookie, and while this socket is still hashed (it is, when STATE_CB
 * runs) no other socket of its netns can hold the same ends. */
#include "addr.h"
#include "maps.h"
#include "ports.h"

struct origins_by_pod origins SEC(".maps");
struct entries_by_pod entries SEC(".maps");
struct ports_by_pod listening SEC(".maps");
/* On a connection accepted by the outbound listener: where its application was going. User space reads, by fd. */
struct address_map accepted SEC(".maps");

/* ORed with what is set: other programs on this socket have callbacks of their own. */
static __always_inline void tell_state(struct bpf_sock_ops *ctx) {
  bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void keep(void *map, const void *key, const struct address *value, struct bpf_sock_ops *ctx) {
  if (!map) return; /* the pod left meanwhile: the accepted end will find nothing and be refused */
  if (bpf_map_update_elem(map, key, value, BPF_ANY)) {
    count(COUNT_FULL);
    return;
  }
  tell_state(ctx);
}

/* A socket dials, or has closed: puts its entry into the map, or takes it out. */
static __always_inline void dialling(struct bpf_sock_ops *ctx, int closed) {
  struct bpf_sock *sk = ctx->sk;
  struct flow flow;

  if (!sk) return;
  struct own *mine = bpf_sk_storage_get(&own, sk, 0, 0);
  struct address *peer = mine ? NULL : bpf_sk_storage_get(&peers, sk, 0, 0);
  if (!peer && (!mine || !mine->callee)) /* no pod of ours, or a callee elsewhere */
    return;
  if (!ends_of(ctx, &flow.source, &flow.destination)) return;
  if (mine) {
    void *map = bpf_map_lookup_elem(&entries, &mine->callee);
    if (!closed)
      keep(map, &flow, &mine->client, ctx);
    else if (map)
      bpf_map_delete_elem(map, &flow);
    return;
  }
  /* a child has its listener's callback flags; what it has in `peers` is its client, and nobody's entry */
  if (flow.destination.ip[3] != LOOPBACK) return;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  void *map = bpf_map_lookup_elem(&origins, &cookie);
  if (!closed)
    keep(map, &flow.source, peer, ctx);
  else if (map)
    bpf_map_delete_elem(map, &flow.source);
}

/* A connection of the outbound listener: gives it its original destination. */
static __always_inline void hand_over(struct bpf_sock *sk, __u64 cookie, const struct address *source) {
  void *map = bpf_map_lookup_elem(&origins, &cookie);
  struct address *origin = map ? bpf_map_lookup_elem(map, source) : NULL;
  struct address *kept = NULL;

  if (origin) kept = bpf_sk_storage_get(&accepted, sk, origin, BPF_SK_STORAGE_GET_F_CREATE);
  count(kept ? COUNT_HANDED : COUNT_MISSING);
  if (origin) bpf_map_delete_elem(map, source);
}

/* A connection of an application: shows it its client. */
static __always_inline void show_client(struct bpf_sock *sk, __u64 cookie, const struct flow *flow) {
  void *map = bpf_map_lookup_elem(&entries, &cookie);
  struct address *client = map ? bpf_map_lookup_elem(map, flow) : NULL;

  if (!client) return; /* loopback inside the pod, or one that the inbound listener accepted */
  if (client->port) bpf_sk_storage_get(&peers, sk, client, BPF_SK_STORAGE_GET_F_CREATE);
  count(COUNT_PASSED);
  bpf_map_delete_elem(map, flow);
}

static __always_inline void accepting(struct bpf_sock_ops *ctx) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct pod *pod = bpf_map_lookup_elem(&pods, &cookie);
  struct bpf_sock *sk = ctx->sk;
  struct flow flow;

  if (!pod || !sk || !ends_of(ctx, &flow.destination, &flow.source)) return;
  if (flow.destination.ip[3] == LOOPBACK && flow.destination.port == pod->outbound)
    hand_over(sk, cookie, &flow.source);
  else
    show_client(sk, cookie, &flow);
}

/* A socket starts to listen, or stops to, by close() or shutdown(). The kernel calls before listen() has returned and
 * before a socket that closes is out of reach, once for a socket that several processes share, not for a second
 * listen(), and for the TCP socket beneath an MPTCP one. */
static __always_inline void listener(struct bpf_sock_ops *ctx, int closed) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  void *map = bpf_map_lookup_elem(&listening, &cookie);
  __u32 group = ctx->local_port % PORTS_GROUPS;
  __u64 place;

  if (!map) return;
  struct ports *ports = bpf_map_lookup_elem(map, &group);
  place = place_listened(ctx);
  if (!ports || !place) return;
  if (closed)
    vacate(ports, bpf_get_socket_cookie(ctx));
  else if (claim(ports, bpf_get_socket_cookie(ctx), place))
    tell_state(ctx);
  else
    count(COUNT_CROWDED);
}

SEC("sockops")
int weft_handshake(struct bpf_sock_ops *ctx) {
  /* ctx->reply is never written: it may be another program's answer */
  switch (ctx->op) {
  case BPF_SOCK_OPS_TCP_CONNECT_CB:
    dialling(ctx, 0);
    break;
  case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
    accepting(ctx);
    break;
  case BPF_SOCK_OPS_STATE_CB:
    if (ctx->args[0] == BPF_TCP_LISTEN)
      listener(ctx, 1);
    else if (ctx->args[1] == BPF_TCP_CLOSE)
      dialling(ctx, 1);
    break;
  case BPF_SOCK_OPS_TCP_LISTEN_CB:
    listener(ctx, 0);
    break;
  }
  return 1;
}

char LICENSE[] SEC("license") = "GPL";
