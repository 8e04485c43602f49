/* Loads the light skeletons and speaks bpf(2) for maps and links. */
#include "bpf.h"
#include "loader.h"
#include <fcntl.h>

#include "inbound.lskel.h"
#include "mesh.lskel.h"

/* Takes an fd out of a skeleton that is about to be destroyed; close-on-exec, as every fd of ours. */
static int keep(int fd, int *status) {
  int kept = fcntl(fd, F_DUPFD_CLOEXEC, 3);

  if (kept < 0 && *status == 0) *status = -errno;
  return kept;
}

static void close_all(int *fds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (fds[i] >= 0) close(fds[i]);
    fds[i] = -1;
  }
}

/* The verifier gives up with EAGAIN when a signal is pending, which is delivered on the way back: so try again. */
#define LOAD_ATTEMPTS 8

static int mesh_try(struct mesh_fds *fds) {
  struct mesh *skel = mesh__open();
  int status;

  memset(fds, -1, sizeof(*fds));
  if (!skel) return -ENOMEM;
  status = mesh__load(skel);
  if (status == 0) {
    fds->pods = keep(skel->maps.pods.map_fd, &status);
    fds->own = keep(skel->maps.own.map_fd, &status);
    fds->accepted = keep(skel->maps.accepted.map_fd, &status);
    fds->counters = keep(skel->maps.counters.map_fd, &status);
    fds->origins = keep(skel->maps.origins.map_fd, &status);
    fds->entries = keep(skel->maps.entries.map_fd, &status);
    fds->listening = keep(skel->maps.listening.map_fd, &status);
    fds->connect4 = keep(skel->progs.weft_connect4.prog_fd, &status);
    fds->connect6 = keep(skel->progs.weft_connect6.prog_fd, &status);
    fds->getpeername4 = keep(skel->progs.weft_getpeer4.prog_fd, &status);
    fds->getpeername6 = keep(skel->progs.weft_getpeer6.prog_fd, &status);
    fds->getsockname4 = keep(skel->progs.weft_getsock4.prog_fd, &status);
    fds->getsockname6 = keep(skel->progs.weft_getsock6.prog_fd, &status);
    fds->handshake = keep(skel->progs.weft_handshake.prog_fd, &status);
  }
  mesh__destroy(skel);
  if (status < 0) close_all((int *)fds, sizeof(*fds) / sizeof(int));
  return status;
}

int mesh_load(struct mesh_fds *fds) {
  int status = -EAGAIN;

  for (int i = 0; i < LOAD_ATTEMPTS && status == -EAGAIN; i++)
    status = mesh_try(fds);
  return status;
}

static int inbound_try(struct inbound_fds *fds, uint16_t outbound_port, uint16_t inbound_port, uint32_t bound) {
  struct inbound *skel = inbound__open();
  int status;

  memset(fds, -1, sizeof(*fds));
  if (!skel) return -ENOMEM;
  skel->rodata->outbound_port = outbound_port;
  skel->rodata->inbound_port = inbound_port;
  skel->maps.arrivals.max_entries = bound;
  status = inbound__load(skel);
  if (status == 0) {
    fds->program = keep(skel->progs.weft_inbound.prog_fd, &status);
    fds->listener = keep(skel->maps.listener.map_fd, &status);
    fds->arrivals = keep(skel->maps.arrivals.map_fd, &status);
    fds->ports = keep(skel->maps.ports.map_fd, &status);
    fds->older = keep(skel->maps.older.map_fd, &status);
    fds->steering = keep(skel->maps.steering.map_fd, &status);
  }
  inbound__destroy(skel);
  if (status < 0) close_all((int *)fds, sizeof(*fds) / sizeof(int));
  return status;
}

int inbound_load(struct inbound_fds *fds, uint16_t outbound_port, uint16_t inbound_port, uint32_t bound) {
  int status = -EAGAIN;

  for (int i = 0; i < LOAD_ATTEMPTS && status == -EAGAIN; i++)
    status = inbound_try(fds, outbound_port, inbound_port, bound);
  return status;
}

int link_create(int program, int target, uint32_t type) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.link_create.prog_fd = program;
  attr.link_create.target_fd = target;
  attr.link_create.attach_type = type;
  return bpf_call(BPF_LINK_CREATE, &attr);
}

int hash_create(uint32_t key_bytes, uint32_t value_bytes, uint32_t bound) {
  union bpf_attr attr;

  memset(&attr, 0, sizeof(attr));
  attr.map_type = BPF_MAP_TYPE_HASH;
  attr.map_flags = BPF_F_NO_PREALLOC;
  attr.key_size = key_bytes;
  attr.value_size = value_bytes;
  attr.max_entries = bound;
  memcpy(attr.map_name, "pod_origins", sizeof("pod_origins"));
  return bpf_call(BPF_MAP_CREATE, &attr);
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
