// The CNI plug-in of Weft (https://www.cni.dev/docs/spec/, 0.3.0 to 1.1.0), chained behind the one that makes the pod's
// network. At ADD it asks the node's agent to capture the pod, before any process of it runs, and passes the result of
// the plug-ins before it on as it is. Where no agent answers, a list of fail-closed namespaces on disk decides.
#include "ask.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Longest configuration.
#define INPUT_BYTES (1024 * 1024)
#define PATH_BYTES 512
// A DNS label (RFC 1123) and its zero.
#define LABEL_BYTES 64
#define TIMEOUT_SECONDS 15
#define TIMEOUT_SECONDS_MOST 300
// What ends is not held up.
#define DEL_WAIT_MS 1000

// Codes of the specification's errors.
enum { INCOMPATIBLE = 1, BAD_ENVIRONMENT = 4, IO_FAILURE = 5, UNDECODABLE = 6, BAD_CONFIGURATION = 7, TRY_LATER = 11 };

static const char *const VERSIONS[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
#define VERSION_COUNT (sizeof(VERSIONS) / sizeof(*VERSIONS))

struct configuration {
  // One of VERSIONS; NULL: none of them.
  const char *version;
  struct text result;
  char socket[PATH_BYTES];
  char closed[PATH_BYTES];
  char agent_namespace[LABEL_BYTES];
  long timeout_seconds;
  // Of patience.heard_ms; 0: not told, by an agent that says no such word.
  long heard_seconds;
};

// The pod as the runtime names it. Empty: not told.
struct pod {
  char space[LABEL_BYTES];
  char name[256];
  char uid[LABEL_BYTES];
};

static char input[INPUT_BYTES + 1];
static char question[ASK_BYTES];
static struct answer answer;

// Prints the specification's error and ends. Both texts are within a JSON string: no quote, no backslash but of an
// escape.
static _Noreturn void fail(const struct configuration *given, int code, const char *message, const char *details) {
  const char *version = given != NULL && given->version != NULL ? given->version : "1.1.0";
  printf("{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s\",\"details\":\"%s\"}\n", version, code, message, details);
  exit(1);
}

static struct text read_input(void) {
  size_t length = 0;
  for (;;) {
    ssize_t got = read(STDIN_FILENO, input + length, sizeof(input) - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(NULL, IO_FAILURE, "the configuration cannot be read from standard input", "");
    length += (size_t)got;
    if (length > INPUT_BYTES) fail(NULL, UNDECODABLE, "the configuration is longer than 1 MiB", "");
    if (got == 0) return (struct text){input, length};
  }
}

static const char *version_of(struct text json) {
  struct text said = scan_quoted(scan_member(json, "cniVersion"));
  for (size_t i = 0; said.at != NULL && i < VERSION_COUNT; i++)
    if (strlen(VERSIONS[i]) == said.length && memcmp(VERSIONS[i], said.at, said.length) == 0) return VERSIONS[i];
  return NULL;
}

// Whether a text can stand in JSON, and in a path, as it is.
static bool is_plain(const char *text) {
  for (; *text != 0; text++)
    if (*text <= 0x20 || *text > 0x7e || strchr("\"\\", *text) != NULL) return false;
  return true;
}

// A member that may be missing; false where it is there and no text that fits.
static bool optional(struct text json, const char *name, char *out, size_t size) {
  struct text value = scan_member(json, name);
  out[0] = 0;
  return value.at == NULL || scan_string(value, out, size);
}

// Returns what is wrong, or NULL.
static const char *read_configuration(struct text json, struct configuration *out) {
  if (!scan_object(json)) return "the configuration is no JSON object";
  out->version = version_of(json);
  out->result = scan_member(json, "prevResult");
  out->timeout_seconds = scan_count(scan_member(json, "timeoutSeconds"));
  if (out->timeout_seconds < 1 || out->timeout_seconds > TIMEOUT_SECONDS_MOST) out->timeout_seconds = TIMEOUT_SECONDS;
  out->heard_seconds = scan_count(scan_member(json, "heardSeconds"));
  if (out->heard_seconds < 0 || out->heard_seconds > TIMEOUT_SECONDS_MOST) out->heard_seconds = 0;
  if (!optional(json, "socket", out->socket, sizeof(out->socket))) return "member socket is no path";
  if (!optional(json, "closed", out->closed, sizeof(out->closed))) return "member closed is no path";
  if (!optional(json, "agentNamespace", out->agent_namespace, sizeof(out->agent_namespace)) ||
      !is_plain(out->agent_namespace))
    return "member agentNamespace is no name of a namespace";
  return NULL;
}

// Takes KEY's value out of `A=b;KEY=value`. False where it is longer than fits, or not plain.
static bool argument(const char *all, const char *key, char *out, size_t size) {
  size_t length = strlen(key);
  out[0] = 0;
  for (const char *each = all; each != NULL; each = (each = strchr(each, ';')) == NULL ? NULL : each + 1) {
    if (strncmp(each, key, length) != 0 || each[length] != '=') continue;
    const char *value = each + length + 1;
    size_t used = strcspn(value, ";");
    if (used >= size) return false;
    memcpy(out, value, used);
    out[used] = 0;
  }
  return is_plain(out);
}

static bool read_pod(struct pod *out) {
  const char *all = getenv("CNI_ARGS");
  return argument(all, "K8S_POD_NAMESPACE", out->space, sizeof(out->space)) &&
         argument(all, "K8S_POD_NAME", out->name, sizeof(out->name)) &&
         argument(all, "K8S_POD_UID", out->uid, sizeof(out->uid)) && strchr(out->space, '/') == NULL &&
         out->space[0] != '.';
}

static const char *const VARIABLES[] = {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"};
#define VARIABLE_COUNT (sizeof(VARIABLES) / sizeof(*VARIABLES))

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value == NULL ? "" : value;
}

// The first of the variables that cannot stand in a question; NULL: they all can.
static const char *unusable_variable(void) {
  for (size_t i = 0; i < VARIABLE_COUNT; i++)
    if (strlen(variable(VARIABLES[i])) >= PATH_BYTES || !is_plain(variable(VARIABLES[i]))) return VARIABLES[i];
  return NULL;
}

// Asks the agent. Without a word from it answer.kind is ANSWER_NONE.
static void ask_agent(const struct configuration *given, const struct pod *pod, const char *command, long wait_ms) {
  answer.kind = ANSWER_NONE;
  const char *file = variable("CNI_NETNS");
  struct text result = given->result.at == NULL ? (struct text){"null", 4} : given->result;
  int length = snprintf(question, sizeof(question),
                        "{\"command\":\"%s\",\"namespace\":\"%s\",\"pod\":\"%s\",\"uid\":\"%s\",\"containerId\":\"%s\","
                        "\"ifname\":\"%s\",\"hears\":%s,\"prevResult\":%.*s}",
                        command, pod->space, pod->name, pod->uid, variable("CNI_CONTAINERID"), variable("CNI_IFNAME"),
                        given->heard_seconds > 0 ? "true" : "false", (int)result.length, result.at);
  if (length < 0 || (size_t)length >= sizeof(question)) {
    snprintf(answer.why, sizeof(answer.why), "prevResult is too long for a question to it");
    return;
  }
  // at DEL the namespace may be gone, and is not needed
  int netns = strcmp(command, "DEL") == 0 ? -1 : open(file, O_RDONLY | O_CLOEXEC);
  if (netns < 0 && strcmp(command, "DEL") != 0) {
    snprintf(answer.why, sizeof(answer.why), "CNI_NETNS cannot be opened: %s", strerror(errno));
    return;
  }
  struct patience patience = {wait_ms, given->heard_seconds * 1000};
  ask(given->socket, (struct text){question, (size_t)length}, netns, patience, &answer);
  if (netns >= 0) close(netns);
}

// Whether a file of that name is in the list. What cannot be looked at counts as there: its closed pods must not start.
static bool is_listed(const char *folder, const char *name) {
  char path[PATH_BYTES + LABEL_BYTES + 2];
  snprintf(path, sizeof(path), "%s/%s", folder, name);
  return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static bool is_closed(const struct configuration *given, const struct pod *pod) {
  if (given->closed[0] == 0) return false;
  return is_listed(given->closed, ".all") || is_listed(given->closed, pod->space);
}

// Nobody has said anything: pods of fail-closed namespaces wait for an agent, all others start without one.
static void decide_alone(const struct configuration *given, const struct pod *pod) {
  char message[512];
  if (is_closed(given, pod)) {
    snprintf(message, sizeof(message),
             "pods of namespace %s start only once the Weft agent of this node has captured them (fail-closed), and it "
             "cannot be asked; see its pods: kubectl -n %s get pods -l app=weft-agent -o wide",
             pod->space, given->agent_namespace[0] == 0 ? "weft-system" : given->agent_namespace);
    fail(given, TRY_LATER, message, answer.why);
  }
  fprintf(stderr, "weft-cni: %s/%s starts uncaptured: %s\n", pod->space, pod->name, answer.why);
}

static void check_version(const struct configuration *given) {
  if (given->version == NULL)
    fail(given, INCOMPATIBLE, "member cniVersion is none that this plug-in speaks",
         "0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0");
}

// Ends where the runtime asks what the specification does not allow.
static void check_asked(const struct configuration *given) {
  check_version(given);
  if (unusable_variable() != NULL)
    fail(given, BAD_ENVIRONMENT, "a variable is too long, or has characters that it cannot have", unusable_variable());
  for (size_t i = 0; i < VARIABLE_COUNT; i++)
    if (variable(VARIABLES[i])[0] == 0) fail(given, BAD_ENVIRONMENT, "a variable is not set", VARIABLES[i]);
  if (!scan_is_object(given->result))
    fail(given, BAD_CONFIGURATION, "member prevResult is missing: weft-cni stands behind other plug-ins in a list", "");
}

static void add(const struct configuration *given) {
  struct pod pod;
  check_asked(given);
  if (!read_pod(&pod)) fail(given, BAD_ENVIRONMENT, "CNI_ARGS names no pod that could be", "");
  // the agent's own pods start without it, and so does what is no pod of Kubernetes
  if (pod.space[0] != 0 && strcmp(pod.space, given->agent_namespace) != 0) {
    ask_agent(given, &pod, "ADD", given->timeout_seconds * 1000);
    if (answer.kind == ANSWER_ERROR) fail(given, TRY_LATER, answer.why, "the Weft agent of this node");
    if (answer.kind == ANSWER_NONE) decide_alone(given, &pod);
  }
  fwrite(given->result.at, 1, given->result.length, stdout);
}

static void check(const struct configuration *given) {
  struct pod pod;
  check_asked(given);
  if (!read_pod(&pod) || pod.space[0] == 0 || strcmp(pod.space, given->agent_namespace) == 0) return;
  ask_agent(given, &pod, "CHECK", given->timeout_seconds * 1000);
  // without an agent a closed pod's capture is in the kernel, and an open pod's is none
  if (answer.kind == ANSWER_ERROR) fail(given, TRY_LATER, answer.why, "the Weft agent of this node");
}

// What ends must be able to end: nothing here fails.
static void del(const struct configuration *given, const char *wrong) {
  struct pod pod;
  if (wrong != NULL || !read_pod(&pod) || pod.space[0] == 0 || unusable_variable() != NULL) return;
  struct configuration brief = *given;
  brief.result = (struct text){NULL, 0}; // nobody reads it there
  ask_agent(&brief, &pod, "DEL", DEL_WAIT_MS);
}

static void print_versions(struct text json) {
  const char *version = scan_object(json) ? version_of(json) : NULL;
  printf("{\"cniVersion\":\"%s\",\"supportedVersions\":[", version == NULL ? VERSIONS[VERSION_COUNT - 1] : version);
  for (size_t i = 0; i < VERSION_COUNT; i++)
    printf("%s\"%s\"", i == 0 ? "" : ",", VERSIONS[i]);
  printf("]}\n");
}

int main(void) {
  static struct configuration given;
  const char *command = getenv("CNI_COMMAND");
  if (command == NULL) fail(NULL, BAD_ENVIRONMENT, "a variable is not set", "CNI_COMMAND");
  struct text json = read_input();
  if (strcmp(command, "VERSION") == 0) {
    print_versions(json);
    return 0;
  }
  const char *wrong = read_configuration(json, &given);
  if (strcmp(command, "DEL") == 0) {
    del(&given, wrong);
    return 0;
  }
  if (wrong != NULL) fail(&given, UNDECODABLE, wrong, "");
  if (strcmp(command, "ADD") == 0)
    add(&given);
  else if (strcmp(command, "CHECK") == 0)
    check(&given);
  else if (strcmp(command, "GC") == 0 || strcmp(command, "STATUS") == 0)
    check_version(&given); // nothing of ours is left by a pod, and pods of other namespaces can always be added
  else
    fail(&given, BAD_ENVIRONMENT, "CNI_COMMAND is none that this plug-in knows", "");
  if (fflush(stdout) != 0) return 1;
  return 0;
}
