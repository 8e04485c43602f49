// Finds members of a JSON object in its text (RFC 8259), without a copy and without a tree: all that the plug-in needs.
#ifndef WEFT_CNI_SCAN_H
#define WEFT_CNI_SCAN_H

#include <stdbool.h>
#include <stddef.h>

// A piece of somebody else's text; `at` NULL: none.
struct text {
  const char *at;
  size_t length;
};

// Deepest nesting that is read; what is deeper counts as no JSON.
#define SCAN_DEPTH 128

// Whether the text is one JSON object and nothing but white space beside it.
bool scan_object(struct text json);

// The value of a member of an object that scan_object() has accepted; of several the last, as Go reads it. A name that
// is written with escapes is not found.
struct text scan_member(struct text object, const char *name);

// Whether a value is an object.
bool scan_is_object(struct text value);

// What stands between the quotes of a string, escapes as they are; NULL where the value is no string.
struct text scan_quoted(struct text value);

// A string's characters as UTF-8, ended by a zero. False where it is no string, has a zero or half a surrogate pair in
// it, or does not fit.
bool scan_string(struct text value, char *out, size_t size);

// A whole number of at most six digits, or -1.
long scan_count(struct text value);

#endif
