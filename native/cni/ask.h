// One question to the agent of this node, over its Unix socket.
#ifndef WEFT_CNI_ASK_H
#define WEFT_CNI_ASK_H

#include "scan.h"

// Longest question: what the agent reads as one message (native/rights.cc).
#define ASK_BYTES (64 * 1024)
// Longest answer.
#define ANSWER_BYTES (4 * 1024)

struct answer {
  enum { ANSWER_NONE, ANSWER_OK, ANSWER_ERROR } kind;
  // Of an error the agent's words, as they stand in its JSON; of none why there is none, likewise.
  char why[ANSWER_BYTES];
};

// How long is waited, in milliseconds.
struct patience {
  // For the answer.
  long answer_ms;
  // For the agent's word that it has heard the question, which the question asks for; 0: none is asked for.
  long heard_ms;
};

// Sends the question with a descriptor (-1: none) and waits for the answer. Where an agent goes meanwhile, or has just
// gone, and another comes, that one is asked; without a descriptor only who is there now.
// `*answer` is one of the three in any case.
void ask(const char *path, struct text question, int netns, struct patience patience, struct answer *answer);

#endif
