/* The bpf(2) system call, in the few forms that are needed. */
#include "bpf.h"
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The verifier gives up with EAGAIN when a signal is pending, which is delivered on the way back: so try again. */
#define LOAD_ATTEMPTS 8

static int bpf_call(enum bpf_cmd cmd, union bpf_attr *attr) {
  long result = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

  return result < 0 ? -errno : (int)result;
}

static void name_it(char *to, const char *name) {
  strncpy(to, name, BPF_OBJ_NAME_LEN - 1);
}

int btf_load(const void *bytes, size_t length) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.btf = (long)bytes;
  attr.btf_size = length;
  return bpf_call(BPF_BTF_LOAD, &attr);
}

int map_create(const struct map_wish *wish) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.map_type = wish->type;
  attr.key_size = wish->key_bytes;
  attr.value_size = wish->value_bytes;
  attr.max_entries = wish->entries;
  attr.map_flags = wish->flags;
  name_it(attr.map_name, wish->name);
  if (wish->inner >= 0) attr.inner_map_fd = wish->inner;
  if (wish->btf >= 0) {
    attr.btf_fd = wish->btf;
    attr.btf_key_type_id = wish->key_type;
    attr.btf_value_type_id = wish->value_type;
  }
  return bpf_call(BPF_MAP_CREATE, &attr);
}

int program_load(const struct program_wish *wish) {
  int status = -EAGAIN;
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.prog_type = wish->type;
  attr.expected_attach_type = wish->attach_type;
  attr.insns = (long)wish->code;
  attr.insn_cnt = wish->code_bytes / sizeof(struct bpf_insn);
  attr.license = (long)"GPL";
  name_it(attr.prog_name, wish->name);
  attr.prog_btf_fd = wish->btf;
  attr.func_info = (long)wish->functions;
  attr.func_info_rec_size = sizeof(struct bpf_func_info);
  attr.func_info_cnt = wish->functions_bytes / sizeof(struct bpf_func_info);
  if (wish->fields_bytes) {
    attr.core_relos = (long)wish->fields;
    attr.core_relo_rec_size = sizeof(struct bpf_core_relo);
    attr.core_relo_cnt = wish->fields_bytes / sizeof(struct bpf_core_relo);
  }
  if (wish->log) {
    attr.log_level = 1;
    attr.log_buf = (long)wish->log;
    attr.log_size = wish->log_bytes;
  }
  for (int i = 0; i < LOAD_ATTEMPTS && status == -EAGAIN; i++)
    status = bpf_call(BPF_PROG_LOAD, &attr);
  return status;
}

int link_create(int program, int target, uint32_t attach_type) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.link_create.prog_fd = program;
  attr.link_create.target_fd = target;
  attr.link_create.attach_type = attach_type;
  return bpf_call(BPF_LINK_CREATE, &attr);
}

int link_update(int link, int program) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.link_update.link_fd = link;
  attr.link_update.new_prog_fd = program;
  return bpf_call(BPF_LINK_UPDATE, &attr);
}

int link_detach(int link) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.link_detach.link_fd = link;
  return bpf_call(BPF_LINK_DETACH, &attr);
}

static int describe(int fd, void *into, uint32_t bytes) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.info.bpf_fd = fd;
  attr.info.info_len = bytes;
  attr.info.info = (long)into;
  return bpf_call(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

int link_read(int link, struct link_state *state) {
  struct bpf_link_info told;
  int status;

  memset(&told, 0, sizeof(told));
  status = describe(link, &told, sizeof(told));
  if (status < 0) return status;
  state->program = told.prog_id;
  state->place = told.type == BPF_LINK_TYPE_NETNS ? told.netns.netns_ino : told.cgroup.cgroup_id;
  return 0;
}

int object_pin(int fd, const char *path) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.bpf_fd = fd;
  attr.pathname = (long)path;
  return bpf_call(BPF_OBJ_PIN, &attr);
}

int object_open(const char *path) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.pathname = (long)path;
  return bpf_call(BPF_OBJ_GET, &attr);
}

int map_read(int map, struct map_state *state) {
  struct bpf_map_info told;
  int status;

  memset(&told, 0, sizeof(told));
  status = describe(map, &told, sizeof(told));
  if (status < 0) return status;
  state->id = told.id;
  state->type = told.type;
  state->key_bytes = told.key_size;
  state->value_bytes = told.value_size;
  state->entries = told.max_entries;
  return 0;
}

int program_id(int program) {
  struct bpf_prog_info told;
  int status;

  memset(&told, 0, sizeof(told));
  status = describe(program, &told, sizeof(told));
  return status < 0 ? status : (int)told.id;
}

int program_name(uint32_t id, char *name) {
  struct bpf_prog_info told;
  union bpf_attr attr;
  int fd, status;

  memset(&attr, 0, sizeof(attr));
  attr.prog_id = id;
  fd = bpf_call(BPF_PROG_GET_FD_BY_ID, &attr);
  if (fd < 0) return fd;
  memset(&told, 0, sizeof(told));
  status = describe(fd, &told, sizeof(told));
  close(fd);
  if (status == 0) memcpy(name, told.name, BPF_OBJ_NAME_LEN);
  return status;
}

int attached(int cgroup, uint32_t attach_type, uint32_t *ids, uint32_t most) {
  union bpf_attr attr;
  int status;

  memset(&attr, 0, sizeof(attr));
  attr.query.target_fd = cgroup;
  attr.query.attach_type = attach_type;
  attr.query.prog_ids = (long)ids;
  attr.query.prog_cnt = most;
  status = bpf_call(BPF_PROG_QUERY, &attr);
  if (status == -ENOSPC) return (int)most;
  return status < 0 ? status : (int)attr.query.prog_cnt;
}

static int element(enum bpf_cmd cmd, int map, const void *key, const void *value) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.map_fd = map;
  attr.key = (long)key;
  attr.value = (long)value;
  return bpf_call(cmd, &attr);
}

int map_get(int map, const void *key, void *value) {
  return element(BPF_MAP_LOOKUP_ELEM, map, key, value);
}

int map_put(int map, const void *key, const void *value) {
  return element(BPF_MAP_UPDATE_ELEM, map, key, value);
}

int map_remove(int map, const void *key) {
  return element(BPF_MAP_DELETE_ELEM, map, key, NULL);
}

int map_list(int map, void *keys, void *values, uint32_t most) {
  union bpf_attr attr;
  uint8_t next[64]; /* as long as a key, for some kinds of map */
  int status;

  memset(&attr, 0, sizeof(attr));
  attr.batch.map_fd = map;
  attr.batch.out_batch = (long)next;
  attr.batch.keys = (long)keys;
  attr.batch.values = (long)values;
  attr.batch.count = most;
  status = bpf_call(BPF_MAP_LOOKUP_BATCH, &attr);
  return status < 0 && status != -ENOENT ? status : (int)attr.batch.count; /* ENOENT: that was all */
}
