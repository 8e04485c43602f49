/* SPDX-License-Identifier: GPL-2.0 */
/* What the connections of a captured pod's applications carried, exact to the byte however they ended: the kernel's own
 * counts are read as a socket closes, once a connection and never per packet. */
#ifndef WEFT_TALLY_H
#define WEFT_TALLY_H

#include "addr.h"
#include "maps.h"

/* The few fields of the kernel's own structs that no context offers; where they lie is looked up when a program is
 * loaded. */
struct sock_common {
  unsigned long skc_flags;
} __attribute__((preserve_access_index));

struct tcp_sock {
  __u64 bytes_sent;
  __u64 bytes_retrans;
} __attribute__((preserve_access_index));

/* Bit of skc_flags: a FIN came, which bytes_received counts as a byte. enum sock_flags of the kernel's sock.h. */
#define SOCK_DONE 1

struct tallies_by_pod tallies SEC(".maps");

static __always_inline struct tally *tally_of(__u64 cookie, struct tally_key *key) {
  void *map = bpf_map_lookup_elem(&tallies, &cookie);
  struct tally none = {}, *found;

  if (!map) return NULL;
  found = bpf_map_lookup_elem(map, key);
  if (found) return found;
  bpf_map_update_elem(map, key, &none, BPF_NOEXIST);
  found = bpf_map_lookup_elem(map, key);
  if (found) return found;
  count(COUNT_SPILLED);
  __builtin_memset(&key->remote, 0, sizeof(key->remote));
  return bpf_map_lookup_elem(map, key);
}

/* A connection is established. */
static __always_inline int tally_opened(struct bpf_sock_ops *ctx, const struct tally_key *which) {
  struct tally_key key = *which;
  struct tally *tally = tally_of(bpf_get_netns_cookie(ctx), &key);

  if (!tally) return 0;
  __sync_fetch_and_add(&tally->opened, 1);
  return 1;
}

/* It has ended. */
static __always_inline void tally_closed(struct bpf_sock_ops *ctx, struct bpf_sock *sk, const struct tally_key *which) {
  struct tally_key key = *which;
  struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
  struct tally *tally;
  __u64 received = ctx->bytes_received;

  if (!tcp) return;
  tally = tally_of(bpf_get_netns_cookie(ctx), &key);
  if (!tally) return;
  if (((struct sock_common *)tcp)->skc_flags & 1 << SOCK_DONE) received -= 1;
  __sync_fetch_and_add(&tally->sent, tcp->bytes_sent - tcp->bytes_retrans);
  __sync_fetch_and_add(&tally->received, received);
  __sync_fetch_and_add(&tally->retransmits, ctx->total_retrans);
  __sync_fetch_and_add(&tally->srtt_us, ctx->srtt_us >> 3); /* the kernel keeps eighths */
  __sync_fetch_and_add(&tally->closed, 1);
}

#endif
