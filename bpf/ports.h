/* SPDX-License-Identifier: GPL-2.0 */
/* The set of places where a pod's applications listen: handshake.bpf.c keeps it, inbound.bpf.c asks it. No lock: a slot
 * is claimed by compare-and-swap, and a reader looks at one word of it.
 *
 * One slot a socket and not a count a place: a count that falls to zero cannot be deleted and raised at the same time,
 * and a socket that closes takes out what it put in, and never what an earlier capture of its pod had seen. */
#ifndef WEFT_PORTS_H
#define WEFT_PORTS_H

#include "addr.h"

/* Where a socket listens; 0: nowhere that a SYN from outside could ask for. The proxy's own listeners are at 127.0.0.1
 * and ::1 and so never count. IPV6_V6ONLY cannot be seen from here: such a socket counts for IPv4 too. */
static __always_inline __u64 place_listened(struct bpf_sock_ops *ctx) {
  struct address at;

  if (ctx->family == AF_INET) {
    set_v4(&at, ctx->local_ip4, 0);
  } else if (ctx->family == AF_INET6) {
    SET_V6(&at, ctx->local_ip6, 0);
  } else {
    return 0;
  }
  if (is_v4(&at) ? is_loopback4(at.ip[3]) : at.ip[3] && stays_inside(&at)) return 0;
  return place_of(folded(at.ip, MAPPED), ctx->local_port);
}

/* Returns 0 where the ports of this remainder have no slot left: from then on all of them pass for open. */
static __always_inline int claim(struct ports *ports, __u64 socket, __u64 place) {
  for (int i = 0; i < PORTS_SLOTS; i++) {
    struct listening *slot = &ports->slots[i];

    if (slot->socket || __sync_val_compare_and_swap(&slot->socket, 0, socket)) continue;
    slot->place = place;
    return 1;
  }
  ports->crowded = 1;
  return 0;
}

static __always_inline void vacate(struct ports *ports, __u64 socket) {
  for (int i = 0; i < PORTS_SLOTS; i++) {
    struct listening *slot = &ports->slots[i];

    if (slot->socket != socket) continue;
    slot->place = 0; /* first: the slot is another's as soon as it has no socket */
    __sync_val_compare_and_swap(&slot->socket, socket, 0); /* a plain store could overtake the one before it */
  }
}

/* Up to three places, each that of a listener which would get the SYN; 0 = none. */
static __always_inline int is_held(const struct ports *ports, const __u64 *places) {
  if (ports->crowded) return 1;
  for (int i = 0; i < PORTS_SLOTS; i++) {
    __u64 held = ports->slots[i].place;

    if (held && (held == places[0] || held == places[1] || held == places[2])) return 1;
  }
  return 0;
}

#endif
