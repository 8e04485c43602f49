// Reads documents, one a line in hexadecimal, and says of each what the plug-in's scanner makes of it: `-` where it is
// no object, else the value of the member `prevResult` in hexadecimal and the string of `socket`. Each document lies in
// memory of exactly its length, so that a sanitizer sees a byte too far.
#include "../../native/cni/scan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES (64 * 1024)

static void say_hex(const char *at, size_t length) {
  for (size_t i = 0; i < length; i++)
    printf("%02x", (unsigned char)at[i]);
}

static void judge(struct text json) {
  char room[24], *small = malloc(5);
  if (!scan_object(json)) {
    puts("-");
    free(small);
    return;
  }
  struct text result = scan_member(json, "prevResult"), socket = scan_member(json, "socket");
  scan_string(socket, small, 5);
  scan_count(scan_member(json, "timeoutSeconds"));
  printf("+ ");
  say_hex(result.at, result.length);
  printf(" ");
  if (scan_string(socket, room, sizeof(room))) say_hex(room, strlen(room));
  puts("");
  free(small);
}

int main(void) {
  static char line[LINE_BYTES];
  while (fgets(line, sizeof(line), stdin) != NULL) {
    size_t length = strcspn(line, "\n") / 2;
    char *bytes = malloc(length == 0 ? 1 : length);
    for (size_t i = 0; i < length; i++) {
      unsigned byte = 0;
      sscanf(line + 2 * i, "%2x", &byte);
      bytes[i] = (char)byte;
    }
    judge((struct text){bytes, length});
    free(bytes);
  }
  return 0;
}
