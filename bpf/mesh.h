/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs share with user space: keys, values and the names of the counters. agent/kernel/layout.ts says the
 * same in TypeScript, and a test compares the two. Nothing else belongs here. Pinned maps outlive the agent that made
 * them: who changes a shape here, or what a field means, raises LAYOUT. */
#ifndef WEFT_MESH_H
#define WEFT_MESH_H

#include <linux/types.h>

#define LAYOUT 1

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

/* What `flags` of a pod say. */
#define POD_NODE 1    /* not a pod but the node's own namespace: only its probes matter */
#define POD_PENDING 2 /* to be captured and not yet: what it dials is refused, what comes for it too */
#define POD_LEAVING 4 /* what it dials is no longer turned */
#define POD_CLOSED 8  /* while no agent listens, connections are refused; else they go direct */
#define POD_PORTS 16  /* it has excluded ports */
#define POD_BLOCKS 32 /* it has excluded blocks of addresses */
#define POD_DEAF 128  /* the agent is about to end: as if it listened no more */
#define POD_PROVED 64 /* its inbound port may be dialled from outside: the agent is looking whether capture works */

/* A captured pod. Ports in network byte order, 0 = there is no such listener. */
struct pod {
  __u64 cookie;          /* of its network namespace */
  struct address shown4; /* what getsockname tells instead of 127.0.0.1; port unused */
  struct address shown6; /* and instead of ::1 */
  __u16 outbound4;       /* listeners of the proxy at 127.0.0.1 and at ::1 */
  __u16 outbound6;
  __u16 inbound4;
  __u16 inbound6;
  __u32 flags;
  __u32 zero;
};

/* Slots of a pod's map of listeners. */
enum slot { SLOT_INBOUND4, SLOT_INBOUND6, SLOT_OUTBOUND4, SLOT_OUTBOUND6, SLOTS };

/* Captured connects spread over so many loopback addresses (IPv4) or ports (IPv6): each has room for as many
 * connections as there are ephemeral ports. */
#define SPREAD 8

/* How a connection passed, as its application's end sees it. */
enum passage {
  PATH_PROXY,  /* through the proxy */
  PATH_DIRECT, /* past it: excluded, or no agent listened */
  PATH_PROBE,  /* the node's own probe */
};

/* A connection on its way to an application: what its PASSIVE_ESTABLISHED_CB needs. */
struct entry {
  struct address client; /* what the callee's getpeername tells; port 0 = the truth */
  __u32 path;            /* enum passage */
};

/* Marks a socket of the proxy, or a probe of the node. Lives in the socket's own storage, where no pod can write. */
struct own {
  __u64 callee; /* netns cookie of a callee on this node, 0 = the callee is elsewhere */
  struct entry entry;
};

/* The key of a pod's excluded port. */
struct excluded_port {
  __u64 cookie;
  __u16 port;      /* network byte order */
  __u16 direction; /* enum direction */
  __u32 zero;
};

/* The key of a pod's excluded block of addresses: an LPM trie's. */
struct excluded_block {
  __u32 bits; /* 96 for cookie and family, then those of the address */
  __u64 cookie;
  __u32 family; /* 4 or 6: ::/0 is not all of IPv4 */
  __u32 ip[4];
} __attribute__((packed));

/* Only sockets below this cgroup are probes; id 0: every socket of the node's namespace. */
struct prober {
  __u64 cgroup;
  __u32 level;
  __u32 zero;
};

enum direction { DIALLED, ACCEPTED };

/* Connections that are summed together: those of one pod with one other end. */
struct tally_key {
  struct address remote; /* whom it dialled; all 0 for who dialled it, and for those the table had no room for */
  __u16 direction;       /* enum direction */
  __u16 path;            /* enum passage */
};

/* What they carried, as the pod's application sees it; bytes, retransmits and round trips of closed ones only. */
struct tally {
  __u64 opened;
  __u64 closed;
  __u64 sent;
  __u64 received;
  __u64 retransmits; /* segments */
  __u64 srtt_us;     /* the sum of their last smoothed round-trip times */
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

/* An address as 32 bits: IPv4 as it is (0 = every one), IPv6 folded (1 = every one, which also takes IPv4). Two IPv6
 * addresses that fold alike cost a refusal, never a connection. */
static inline __attribute__((always_inline)) __u32 folded(const __u32 *ip, __u32 mapped) {
  __u32 sum;

  if (!ip[0] && !ip[1] && ip[2] == mapped) return ip[3];
  sum = ip[0] ^ (ip[1] << 7 | ip[1] >> 25) ^ (ip[2] << 13 | ip[2] >> 19) ^ (ip[3] << 19 | ip[3] >> 13);
  if (!ip[0] && !ip[1] && !ip[2] && !ip[3]) return 1;
  return sum < 2 ? sum + 2 : sum;
}

/* A folded address and a port in host byte order, as one word. Never 0: port 0 does not listen. */
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
  COUNT_PASSED,    /* connections of the proxy, and probes, that reached their application */
  COUNT_FULL,      /* a pod's table of handshakes was full */
  COUNT_NO_MEMORY, /* no socket storage: connect refused, or a connection not counted */
  COUNT_CROWDED,   /* listeners that found no slot: closed ports of their group look open */
  COUNT_PENDING,   /* connects refused: the pod is not captured yet */
  COUNT_LOST,      /* connects refused: no agent listens, or they cannot be turned, and the pod is closed then */
  COUNT_OPENED,    /* connects left to go direct: the same, and the pod is open then */
  COUNT_EXCLUDED,  /* connects left to go direct: excluded */
  COUNT_PROBES,    /* connects of the node's probes */
  COUNT_SPILLED,   /* connections summed under no address: the pod's table of tallies was full */
  COUNTERS,
};

/* Counters of the inbound program, that a node has once a pod. */
enum inbound_counter {
  INBOUND_STEERED,  /* SYNs given to the inbound listener (a SYN sent again counts again) */
  INBOUND_LET,      /* SYNs of our own, and of probes, that passed to the application */
  INBOUND_DROPPED,  /* SYNs refused: direct dials from outside, or strangers turned to loopback */
  INBOUND_CLOSED,   /* SYNs refused: no application listens there */
  INBOUND_LOST,     /* SYNs refused: no agent listens and the pod is closed then */
  INBOUND_OPENED,   /* SYNs passed to the application: no agent listens and the pod is open then */
  INBOUND_EXCLUDED, /* SYNs passed to the application: excluded */
  INBOUND_COUNTERS,
};

#endif
