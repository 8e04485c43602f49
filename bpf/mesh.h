/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs share with user space: keys, values and the names of the counters. agent/kernel/layout.ts says the
 * same in TypeScript, and a test compares the two. Nothing else belongs here. */
#ifndef WEFT_MESH_H
#define WEFT_MESH_H

#include <linux/types.h>

/* One end of a connection, IPv4 as ::ffff:a.b.c.d. Everything in network byte order. */
struct address {
  __u32 ip[4];
  __u16 port;
  __u16 zero;
};

/* A connection as its callee sees it. */
struct flow {
  struct address source;
  struct address destination;
};

/* A captured pod. */
struct pod {
  struct address shown; /* what getsockname tells instead of 127.0.0.1; port unused */
  __u16 outbound;       /* ports of the proxy's listeners on 127.0.0.1, network byte order */
  __u16 inbound;
};

/* Marks a socket of the proxy. Lives in the socket's own storage, where no pod can write. */
struct own {
  __u64 callee;          /* netns cookie of a callee on this node, 0 = the callee is elsewhere */
  struct address client; /* what the callee's getpeername tells; port 0 = the truth */
  __u32 zero;
};

/* A socket that listens, by its cookie (what sock_diag tells too), and its place; both 0: a free slot. */
struct listening {
  __u64 socket;
  __u64 place;
};

/* Listening sockets of one pod whose port has the same remainder by PORTS_GROUPS. */
#define PORTS_GROUPS 64
#define PORTS_SLOTS 16
struct ports {
  __u64 crowded; /* there was no slot for one of them: until the pod is released every port of the group is open */
  struct listening slots[PORTS_SLOTS];
};

/* IPv4 address (0 = every one) in network byte order and port in host byte order, as one word. Never 0: port 0 does not
 * listen. */
static inline __attribute__((always_inline)) __u64 place_of(__u32 ip, __u32 port) {
  return (__u64)ip << 32 | port;
}

/* Places of listeners older than the capture, a pod. */
#define OLDER_MAX 1024

/* Counters of the programs that a node has once. */
enum counter {
  COUNT_CAPTURED,  /* connects turned to the outbound listener */
  COUNT_HANDED,    /* accepted connections that got their original destination */
  COUNT_MISSING,   /* accepted outbound connections without one: to be refused */
  COUNT_DIRECT,    /* direct dials of a listener of ours, refused */
  COUNT_PASSED,    /* connections of the proxy that reached their application */
  COUNT_FULL,      /* a pod's table of handshakes was full */
  COUNT_NO_MEMORY, /* no socket storage: connect refused */
  COUNT_CROWDED,   /* listeners that found no slot: closed ports of their group look open */
  COUNTERS,
};

/* Counters of the inbound program, that a node has once a pod. */
enum inbound_counter {
  INBOUND_STEERED, /* SYNs given to the inbound listener (a SYN sent again counts again) */
  INBOUND_LET,     /* SYNs of our own that passed to the application */
  INBOUND_DROPPED, /* SYNs refused: direct dials from outside, or the proxy does not listen */
  INBOUND_CLOSED,  /* SYNs refused: no application listens there */
  INBOUND_COUNTERS,
};

#endif
