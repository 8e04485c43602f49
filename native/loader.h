/* What a light skeleton (bpftool gen skeleton -L) needs at run time, so that an installation needs a C compiler and the
 * kernel's headers, but neither libbpf nor its headers. The three structs are the skeleton's contract with the loader
 * program inside it (checked by bpf/build.ts: same bpftool version, same header). */
#ifndef WEFT_LOADER_H
#define WEFT_LOADER_H

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct bpf_map_desc {
  int map_fd;                  /* out */
  __u32 max_entries;           /* in, 0 = as compiled */
  __aligned_u64 initial_value; /* in, of .rodata */
};

struct bpf_prog_desc {
  int prog_fd; /* out */
};

struct bpf_loader_ctx {
  __u32 sz;
  __u32 flags;
  __u32 log_level;
  __u32 log_size;
  __u64 log_buf;
};

struct bpf_load_and_run_opts {
  struct bpf_loader_ctx *ctx;
  const void *data;
  const void *insns;
  __u32 data_sz;
  __u32 insns_sz;
  const char *errstr;
};

/* The bpf(2) system call. Returns its result, or -errno. */
static inline int bpf_call(enum bpf_cmd cmd, union bpf_attr *attr) {
  long result = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

  return result < 0 ? -errno : (int)result;
}

static inline void *skel_alloc(size_t size) {
  return calloc(1, size);
}

static inline void skel_free(void *skel) {
  free(skel);
}

static inline int skel_closenz(int fd) {
  return fd > 0 ? close(fd) : -EINVAL;
}

/* The initial value of .rodata, writable until the skeleton is loaded. */
static inline void *skel_prep_map_data(const void *value, size_t mapped, size_t size) {
  void *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (memory == MAP_FAILED) return NULL;
  memcpy(memory, value, size);
  return memory;
}

static inline void *skel_finalize_map_data(__u64 *initial_value, size_t mapped, int protection, int fd) {
  void *memory = mmap((void *)(long)*initial_value, mapped, protection, MAP_SHARED | MAP_FIXED, fd, 0);

  return memory == MAP_FAILED ? NULL : memory;
}

static inline void skel_free_map_data(void *memory, __u64 initial_value, size_t mapped) {
  (void)initial_value;
  if (memory) munmap(memory, mapped);
}

/* Puts the skeleton's bytes into a map, loads the loader program and runs it once: it creates the maps, loads the
 * programs and leaves their fds in `ctx`. Returns 0 or -errno; what it made is gone when it fails. */
static inline int bpf_load_and_run(struct bpf_load_and_run_opts *opts) {
  int map = -1, program = -1, status, key = 0;
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.map_type = BPF_MAP_TYPE_ARRAY;
  attr.key_size = sizeof(key);
  attr.value_size = opts->data_sz;
  attr.max_entries = 1;
  memcpy(attr.map_name, "weft_loader", sizeof("weft_loader"));
  status = map = bpf_call(BPF_MAP_CREATE, &attr);
  if (status < 0) goto out;

  memset(&attr, 0, sizeof(attr));
  attr.map_fd = map;
  attr.key = (long)&key;
  attr.value = (long)opts->data;
  status = bpf_call(BPF_MAP_UPDATE_ELEM, &attr);
  if (status < 0) goto out;

  memset(&attr, 0, sizeof(attr));
  attr.prog_type = BPF_PROG_TYPE_SYSCALL;
  attr.prog_flags = BPF_F_SLEEPABLE;
  attr.insns = (long)opts->insns;
  attr.insn_cnt = opts->insns_sz / sizeof(struct bpf_insn);
  attr.license = (long)"GPL";
  attr.fd_array = (long)&map;
  memcpy(attr.prog_name, "weft_loader", sizeof("weft_loader"));
  status = program = bpf_call(BPF_PROG_LOAD, &attr);
  if (status < 0) goto out;

  memset(&attr, 0, sizeof(attr));
  attr.test.prog_fd = program;
  attr.test.ctx_in = (long)opts->ctx;
  attr.test.ctx_size_in = opts->ctx->sz;
  status = bpf_call(BPF_PROG_RUN, &attr);
  if (status >= 0) status = (int)attr.test.retval < 0 ? (int)attr.test.retval : 0;
out:
  if (map >= 0) close(map);
  if (program >= 0) close(program);
  return status;
}

#endif
