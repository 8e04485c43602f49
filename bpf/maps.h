/* SPDX-License-Identifier: GPL-2.0 */
/* The shapes of the maps that a node has once. Each map is defined in the file that writes it, or, where user space
 * writes it, in the file that reads it most; the others say extern. */
#ifndef WEFT_MAPS_H
#define WEFT_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "mesh.h"

#define PODS_MAX 1024
#define EXCLUDED_MAX 65536 /* of all pods; user space bounds each pod's */

/* netns cookie -> captured pod. User space writes. */
struct pods_map {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, PODS_MAX);
  __type(key, __u64);
  __type(value, struct pod);
};

/* Where the pods' specs declare probes -> netns cookie of the pod. User space writes. */
struct probes_map {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, EXCLUDED_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct address);
  __type(value, __u64);
};

/* User space writes. */
struct excluded_ports_map {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, EXCLUDED_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct excluded_port);
  __type(value, __u32);
};

/* User space writes. */
struct excluded_blocks_map {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, EXCLUDED_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct excluded_block);
  __type(value, __u32);
};

/* User space writes. */
struct prober_map {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct prober);
};

/* Handshakes in flight of one pod, of the connections that its applications dial: ends on loopback -> original
 * destination.
 * One map a pod, so that its bound is the pod's own: no pod can crowd out another. A plain hash with explicit deletes:
 * an LRU evicts live entries on machines with many cores. max_entries here is only a template; sizes and not types,
 * because clang leaves a type that only an inner map names without its body. */
struct origins_map {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(key_size, sizeof(struct flow));
  __uint(value_size, sizeof(struct address));
};

/* Handshakes in flight towards one pod, of the connections that the proxy or a probe dials. These are the SYNs that the
 * pod's inbound program lets pass. */
struct entries_map {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(key_size, sizeof(struct flow));
  __uint(value_size, sizeof(struct entry));
};

/* Where one pod's applications listen. */
struct ports_map {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, PORTS_GROUPS);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(struct ports));
};

/* What one pod's connections carried. */
struct tallies_map {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(key_size, sizeof(struct tally_key));
  __uint(value_size, sizeof(struct tally));
};

/* netns cookie -> the pod's map. Dropping a pod's line forgets all it held; a cookie is never used twice, so what is
 * deleted under an address can never be the entry of the pod that had the address before. */
struct origins_by_pod {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, PODS_MAX);
  __type(key, __u64);
  __array(values, struct origins_map);
};

struct entries_by_pod {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, PODS_MAX);
  __type(key, __u64);
  __array(values, struct entries_map);
};

struct ports_by_pod {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, PODS_MAX);
  __type(key, __u64);
  __array(values, struct ports_map);
};

struct tallies_by_pod {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, PODS_MAX);
  __type(key, __u64);
  __array(values, struct tallies_map);
};

/* Socket storage: the proxy's own sockets, and probes. User space writes, by fd, before connect() or listen(); what a
 * listener of the proxy accepts is its own too. */
struct own_map {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
  __type(key, int);
  __type(value, struct own);
};

/* Socket storage: an address. */
struct address_map {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct address);
};

/* Socket storage: which tally a connection of a captured pod's application belongs to. */
struct counted_map {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct tally_key);
};

struct counters_map {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, COUNTERS);
  __type(key, __u32);
  __type(value, __u64);
};

extern struct pods_map pods SEC(".maps");
extern struct address_map peers SEC(".maps");
extern struct own_map own SEC(".maps");
extern struct counted_map counted SEC(".maps");
extern struct counters_map counters SEC(".maps");

static __always_inline void count(enum counter which) {
  __u32 key = which;
  __u64 *value = bpf_map_lookup_elem(&counters, &key);

  if (value) *value += 1;
}

#endif
