/* The bpf(2) half of the addon, in C because the light skeletons are. Every function returns an fd or 0, or -errno. */
#ifndef WEFT_BPF_H
#define WEFT_BPF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a node has once. The fds are the caller's to close. */
struct mesh_fds {
  int pods, own, accepted, counters, origins, entries, listening;
  int connect4, connect6, getpeername4, getpeername6, getsockname4, getsockname6, handshake;
};

/* What a node has once a captured pod. */
struct inbound_fds {
  int program, listener, arrivals, ports, older, steering;
};

int mesh_load(struct mesh_fds *fds);
/* Ports in host byte order; `bound` = handshakes in flight at most. */
int inbound_load(struct inbound_fds *fds, uint16_t outbound_port, uint16_t inbound_port, uint32_t bound);
int link_create(int program, int target, uint32_t type);
int hash_create(uint32_t key_bytes, uint32_t value_bytes, uint32_t bound);
int map_get(int map, const void *key, void *value);
int map_put(int map, const void *key, const void *value);
int map_remove(int map, const void *key);

#ifdef __cplusplus
}
#endif
#endif
