// SPDX-License-Identifier: GPL-2.0
/* sockops: keeps the set of listening ports (ports.h), counts what connections carry (tally.h), and carries an address
 * over a TCP handshake, from the socket that dials to the socket that is accepted.
 *
 *   caller's socket   TCP_CONNECT_CB ----> entry in a map ----> PASSIVE_ESTABLISHED_CB   accepted socket
 *   (source port chosen, SYN not yet sent)                      (before accept() can return it)
 *
 *   application -> outbound listener: the original destination, through the caller's `origins`
 *   proxy -> application:             the client to show,       through the callee's `entries`
 *   probe -> application:             leave to pass,            through the callee's `entries`
 *
 * The socket that wrote an entry deletes it when it closes, so a handshake that never completes leaves nothing. It
 * cannot delete another's: entries are per netns cookie, and while this socket is still hashed (it is, when STATE_CB
 * runs) no other socket of its netns can hold the same ends. */
#include "addr.h"
#include "maps.h"
#include "ports.h"
#include "tally.h"

struct origins_by_pod origins SEC(".maps");
struct entries_by_pod entries SEC(".maps");
struct ports_by_pod listening SEC(".maps");
/* On a connection accepted by the outbound listener: where its application was going. User space reads, by fd. */
struct address_map accepted SEC(".maps");

/* ORed with what is set: other programs on this socket have callbacks of their own. */
static __always_inline void tell_state(struct bpf_sock_ops *ctx) {
  bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void keep(void *map, const void *key, const void *value, struct bpf_sock_ops *ctx) {
  if (!map) return; /* the pod left meanwhile: the accepted end will find nothing and be refused */
  if (bpf_map_update_elem(map, key, value, BPF_ANY)) {
    count(COUNT_FULL);
    return;
  }
  tell_state(ctx);
}

/* A socket dials, or has closed: puts its entry into the map, or takes it out. */
static __always_inline void dialling(struct bpf_sock_ops *ctx, struct bpf_sock *sk, int closed) {
  struct own *mine = bpf_sk_storage_get(&own, sk, 0, 0);
  struct address *peer = mine ? NULL : bpf_sk_storage_get(&peers, sk, 0, 0);
  struct flow flow;

  if (!peer && (!mine || !mine->callee)) /* no pod of ours, or a callee elsewhere */
    return;
  if (!ends_of(ctx, &flow.source, &flow.destination)) return;
  if (mine) {
    void *map = bpf_map_lookup_elem(&entries, &mine->callee);
    if (!closed)
      keep(map, &flow, &mine->entry, ctx);
    else if (map)
      bpf_map_delete_elem(map, &flow);
    return;
  }
  /* a child has its listener's callback flags; what it has in `peers` is its client, and nobody's entry */
  if (!stays_inside(&flow.destination)) return;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  void *map = bpf_map_lookup_elem(&origins, &cookie);
  if (!closed)
    keep(map, &flow, peer, ctx);
  else if (map)
    bpf_map_delete_elem(map, &flow);
}

/* What a pod's application dialled is established. connect4/6 have said which tally it belongs to. */
static __always_inline void dialled(struct bpf_sock_ops *ctx) {
  struct bpf_sock *sk = ctx->sk;
  struct tally_key *key = sk ? bpf_sk_storage_get(&counted, sk, 0, 0) : NULL;

  if (!key) return;
  if (tally_opened(ctx, key))
    tell_state(ctx);
  else
    bpf_sk_storage_delete(&counted, sk);
}

/* A connection of the outbound listener: gives it its original destination. */
static __always_inline void hand_over(struct bpf_sock *sk, __u64 cookie, const struct flow *flow) {
  void *map = bpf_map_lookup_elem(&origins, &cookie);
  struct address *origin = map ? bpf_map_lookup_elem(map, flow) : NULL;
  struct address *kept = NULL;

  if (origin) kept = bpf_sk_storage_get(&accepted, sk, origin, BPF_SK_STORAGE_GET_F_CREATE);
  count(kept ? COUNT_HANDED : COUNT_MISSING);
  if (origin) bpf_map_delete_elem(map, flow);
}

/* A connection of an application: shows it its client, and counts it. */
static __always_inline void arrived(struct bpf_sock_ops *ctx, struct bpf_sock *sk, __u64 cookie, struct flow *flow) {
  void *map = bpf_map_lookup_elem(&entries, &cookie);
  struct entry *entry = map ? bpf_map_lookup_elem(map, flow) : NULL;
  /* who dialled is not kept: that may be anybody, and would fill the table */
  struct tally_key key = {.direction = ACCEPTED, .path = PATH_DIRECT};

  if (entry) {
    if (entry->client.port) bpf_sk_storage_get(&peers, sk, &entry->client, BPF_SK_STORAGE_GET_F_CREATE);
    key.path = entry->path;
    count(COUNT_PASSED);
    bpf_map_delete_elem(map, flow);
  } else if (stays_inside(&flow->source) || same_ip(&flow->source, &flow->destination)) {
    return; /* inside the pod */
  }
  if (!bpf_sk_storage_get(&counted, sk, &key, BPF_SK_STORAGE_GET_F_CREATE))
    count(COUNT_NO_MEMORY);
  else if (tally_opened(ctx, &key))
    tell_state(ctx);
  else
    bpf_sk_storage_delete(&counted, sk);
}

static __always_inline void accepting(struct bpf_sock_ops *ctx) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct pod *pod = bpf_map_lookup_elem(&pods, &cookie);
  struct bpf_sock *sk = ctx->sk;
  struct flow flow;

  if (!pod || pod->flags & POD_NODE || !sk || !ends_of(ctx, &flow.destination, &flow.source)) return;
  if (!bpf_sk_storage_get(&own, sk, 0, 0))
    arrived(ctx, sk, cookie, &flow);
  else if (stays_inside(&flow.destination))
    hand_over(sk, cookie, &flow);
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

static __always_inline void closed(struct bpf_sock_ops *ctx) {
  struct bpf_sock *sk = ctx->sk;
  struct tally_key *key;

  if (!sk) return;
  dialling(ctx, sk, 1);
  key = bpf_sk_storage_get(&counted, sk, 0, 0);
  /* a socket that is connected once more is counted once more */
  if (key && ctx->args[0] != BPF_TCP_SYN_SENT) tally_closed(ctx, sk, key);
}

SEC("sockops")
int weft_handshake(struct bpf_sock_ops *ctx) {
  /* ctx->reply is never written: it may be another program's answer */
  switch (ctx->op) {
  case BPF_SOCK_OPS_TCP_CONNECT_CB:
    if (ctx->sk) dialling(ctx, ctx->sk, 0);
    break;
  case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
    dialled(ctx);
    break;
  case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
    accepting(ctx);
    break;
  case BPF_SOCK_OPS_STATE_CB:
    if (ctx->args[0] == BPF_TCP_LISTEN)
      listener(ctx, 1);
    else if (ctx->args[1] == BPF_TCP_CLOSE)
      closed(ctx);
    break;
  case BPF_SOCK_OPS_TCP_LISTEN_CB:
    listener(ctx, 0);
    break;
  }
  return 1;
}

char LICENSE[] SEC("license") = "GPL";
