// See ask.h. SOCK_SEQPACKET: a message is whole or not there.
#include "ask.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// How often an agent that goes without an answer is asked for in vain, and the pause before each further try.
#define TRIES 10
#define PAUSE_MS 100
// Of an agent whose socket is there, and nobody listens at it: its successor is about to come, or none is there any
// more.
#define TRIES_REFUSED 5

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_at_most(int fd, long ms) {
  if (ms < 1) ms = 1; // 0 would be for ever
  struct timeval patience = {ms / 1000, (ms % 1000) * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

static ssize_t send_with(int fd, struct text question, int netns) {
  struct iovec part = {(void *)question.at, question.length};
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (netns >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &netns, sizeof(int));
  }
  return sendmsg(fd, &message, MSG_NOSIGNAL);
}

// Reads what the agent said. Anything but its two forms is no answer.
static void read_answer(struct text said, struct answer *answer) {
  answer->kind = ANSWER_NONE;
  snprintf(answer->why, sizeof(answer->why), "it answers what is no answer");
  if (!scan_object(said)) return;
  struct text ok = scan_member(said, "ok"), error = scan_quoted(scan_member(said, "error"));
  if (ok.at != NULL && ok.length == 4 && memcmp(ok.at, "true", 4) == 0) {
    answer->kind = ANSWER_OK;
  } else if (error.at != NULL) {
    answer->kind = ANSWER_ERROR;
    snprintf(answer->why, sizeof(answer->why), "%.*s", (int)error.length, error.at);
  }
}

static bool is_heard(struct text said) {
  struct text heard = scan_object(said) ? scan_member(said, "heard") : (struct text){NULL, 0};
  return heard.at != NULL && heard.length == 4 && memcmp(heard.at, "true", 4) == 0;
}

// Until when an agent that works has begun: one that hangs keeps nobody for long, in its queue neither.
static long begun_by_ms(struct patience until) {
  return until.heard_ms == 0 || until.heard_ms > until.answer_ms ? until.answer_ms : until.heard_ms;
}

// Waits for the answer, once the agent has said that it is coming.
static ssize_t receive(int fd, char *said, struct patience until) {
  wait_at_most(fd, begun_by_ms(until) - now_ms());
  ssize_t length = recv(fd, said, ANSWER_BYTES, 0);
  if (until.heard_ms == 0 || length <= 0 || !is_heard((struct text){said, (size_t)length})) return length;
  wait_at_most(fd, until.answer_ms - now_ms());
  return recv(fd, said, ANSWER_BYTES, 0);
}

// What is known after a try: all, that nobody listens, that an agent was there and went away.
enum outcome { FINAL, REFUSED, WENT };

// `until`: times of now_ms(), 0 as in `patience`.
static enum outcome ask_once(const struct sockaddr_un *address, struct text question, int netns, struct patience until,
                             struct answer *answer) {
  static char said[ANSWER_BYTES];
  answer->kind = ANSWER_NONE;
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    snprintf(answer->why, sizeof(answer->why), "socket: %s", strerror(errno));
    return FINAL;
  }
  wait_at_most(fd, begun_by_ms(until) - now_ms());
  const char *deed = "connect";
  ssize_t length = connect(fd, (const struct sockaddr *)address, sizeof(*address));
  if (length == 0) {
    deed = "send";
    wait_at_most(fd, begun_by_ms(until) - now_ms());
    length = send_with(fd, question, netns);
  }
  if (length >= 0) {
    deed = "receive";
    length = receive(fd, said, until);
  }
  int error = errno;
  close(fd);
  if (length > 0) {
    read_answer((struct text){said, (size_t)length}, answer);
    return FINAL;
  }
  bool gone = length == 0 || error == ECONNRESET || error == EPIPE;
  const char *why = gone ? "it went away" : error == EAGAIN ? "it does not answer in time" : strerror(error);
  snprintf(answer->why, sizeof(answer->why), "%s: %s", deed, why);
  return gone ? WENT : error == ECONNREFUSED ? REFUSED : FINAL;
}

void ask(const char *path, struct text question, int netns, struct patience patience, struct answer *answer) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  answer->kind = ANSWER_NONE;
  if (strlen(path) >= sizeof(address.sun_path)) {
    snprintf(answer->why, sizeof(answer->why), "the path of its socket is too long");
    return;
  }
  strcpy(address.sun_path, path);
  long until_ms = now_ms() + patience.answer_ms;
  int tries_most = 1;
  for (int tries = 1;; tries++) {
    struct patience until = {until_ms, patience.heard_ms == 0 ? 0 : now_ms() + patience.heard_ms};
    enum outcome last = ask_once(&address, question, netns, until, answer);
    // one that has just gone may have a successor in a moment; what ends (no descriptor) is not held up for it
    if (last == REFUSED && netns >= 0 && tries_most < TRIES_REFUSED) tries_most = TRIES_REFUSED;
    if (last == WENT && netns >= 0) tries_most = TRIES;
    if (answer->kind != ANSWER_NONE || tries >= tries_most || now_ms() + PAUSE_MS >= until_ms) return;
    nanosleep(&(struct timespec){0, PAUSE_MS * 1000000L}, NULL);
  }
}
