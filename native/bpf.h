/* The bpf(2) system call, in the few forms that are needed. Every function returns an fd, a count or 0, or -errno. */
#ifndef WEFT_BPF_H
#define WEFT_BPF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct map_wish {
  const char *name; /* at most 15 characters */
  uint32_t type, key_bytes, value_bytes, entries, flags;
  int inner;                     /* fd of a map like those that it will hold, -1 = it holds none */
  int btf;                       /* fd, -1 = none */
  uint32_t key_type, value_type; /* in it */
};

struct program_wish {
  const char *name;
  uint32_t type, attach_type;
  const void *code, *functions, *fields; /* instructions, bpf_func_info and bpf_core_relo records */
  size_t code_bytes, functions_bytes, fields_bytes;
  int btf;
  char *log; /* what the verifier says, NULL = it is not asked */
  size_t log_bytes;
};

/* A link, as the kernel has it now: place is the inode of its network namespace or the id of its cgroup, 0 once that is
 * gone. */
struct link_state {
  uint32_t program;
  uint64_t place;
};

int btf_load(const void *bytes, size_t length);
int map_create(const struct map_wish *wish);
int program_load(const struct program_wish *wish);
int link_create(int program, int target, uint32_t attach_type);
int link_update(int link, int program);
int link_detach(int link);
int link_read(int link, struct link_state *state);
int object_pin(int fd, const char *path);
int object_open(const char *path);
/* What the kernel says of a map. */
struct map_state {
  uint32_t id, type, key_bytes, value_bytes, entries;
};

int map_read(int map, struct map_state *state);
int program_id(int program);
/* Name of a loaded program, 16 bytes with the NUL. */
int program_name(uint32_t id, char *name);
/* Ids of the programs attached at a cgroup, in the order in which they run. Returns how many. */
int attached(int cgroup, uint32_t attach_type, uint32_t *ids, uint32_t most);
int map_get(int map, const void *key, void *value);
int map_put(int map, const void *key, const void *value);
int map_remove(int map, const void *key);
/* Up to `most` entries of a hash. Returns how many. */
int map_list(int map, void *keys, void *values, uint32_t most);

#ifdef __cplusplus
}
#endif
#endif
