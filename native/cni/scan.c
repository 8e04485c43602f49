// See scan.h. Every function takes the end of the text along and reads nothing at or beyond it.
#include "scan.h"
#include <string.h>

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
    at++;
  return at;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The value of four hexadecimal digits, or -1.
static int hex_word(const char *at, const char *end) {
  if (end - at < 4) return -1;
  int word = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(at[i]);
    if (digit < 0) return -1;
    word = word * 16 + digit;
  }
  return word;
}

// `at` is at the opening quote. Returns what follows the closing one, or NULL.
static const char *skip_string(const char *at, const char *end) {
  for (at++; at < end; at++) {
    if ((unsigned char)*at < 0x20) return NULL;
    if (*at == '"') return at + 1;
    if (*at != '\\') continue;
    if (++at == end) return NULL;
    if (*at == 'u') {
      if (hex_word(at + 1, end) < 0) return NULL;
      at += 4;
    } else if (memchr("\"\\/bfnrt", *at, 8) == NULL) {
      return NULL;
    }
  }
  return NULL;
}

static const char *skip_digits(const char *at, const char *end) {
  const char *first = at;
  while (at < end && *at >= '0' && *at <= '9')
    at++;
  return at == first ? NULL : at;
}

static const char *skip_number(const char *at, const char *end) {
  if (*at == '-') at++;
  if (at < end && *at == '0')
    at++;
  else if ((at = skip_digits(at, end)) == NULL)
    return NULL;
  if (at < end && *at == '.' && (at = skip_digits(at + 1, end)) == NULL) return NULL;
  if (at < end && (*at == 'e' || *at == 'E')) {
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    at = skip_digits(at, end);
  }
  return at;
}

static const char *skip_word(const char *at, const char *end, const char *word) {
  size_t length = strlen(word);
  return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

static const char *skip_value(const char *at, const char *end, int depth);

// `at` is behind the opening bracket. Returns what follows the closing one, or NULL.
static const char *skip_items(const char *at, const char *end, int depth, bool named) {
  char close = named ? '}' : ']';
  at = skip_space(at, end);
  if (at < end && *at == close) return at + 1;
  for (;;) {
    if (named) {
      if (at == end || *at != '"' || (at = skip_string(at, end)) == NULL) return NULL;
      at = skip_space(at, end);
      if (at == end || *at++ != ':') return NULL;
      at = skip_space(at, end);
    }
    if ((at = skip_value(at, end, depth)) == NULL) return NULL;
    at = skip_space(at, end);
    if (at == end) return NULL;
    if (*at == close) return at + 1;
    if (*at++ != ',') return NULL;
    at = skip_space(at, end);
  }
}

// `at` is at the value's first character. Returns what follows it, or NULL.
static const char *skip_value(const char *at, const char *end, int depth) {
  if (at == end || depth == SCAN_DEPTH) return NULL;
  switch (*at) {
  case '{':
    return skip_items(at + 1, end, depth + 1, true);
  case '[':
    return skip_items(at + 1, end, depth + 1, false);
  case '"':
    return skip_string(at, end);
  case 't':
    return skip_word(at, end, "true");
  case 'f':
    return skip_word(at, end, "false");
  case 'n':
    return skip_word(at, end, "null");
  default:
    return *at == '-' || (*at >= '0' && *at <= '9') ? skip_number(at, end) : NULL;
  }
}

bool scan_object(struct text json) {
  if (json.at == NULL) return false;
  const char *end = json.at + json.length, *at = skip_space(json.at, end);
  if (at == end || *at != '{') return false;
  at = skip_value(at, end, 0);
  return at != NULL && skip_space(at, end) == end;
}

struct text scan_member(struct text object, const char *name) {
  const char *end = object.at + object.length, *at = skip_space(object.at, end) + 1;
  size_t length = strlen(name);
  struct text found = {NULL, 0};
  for (at = skip_space(at, end); *at == '"'; at = skip_space(at + 1, end)) {
    const char *key = at + 1, *behind = skip_string(at, end);
    const char *value = skip_space(skip_space(behind, end) + 1, end);
    at = skip_value(value, end, 1);
    if ((size_t)(behind - 1 - key) == length && memcmp(key, name, length) == 0)
      found = (struct text){value, (size_t)(at - value)};
    at = skip_space(at, end);
    if (*at != ',') break;
  }
  return found;
}

bool scan_is_object(struct text value) {
  return value.at != NULL && *value.at == '{';
}

struct text scan_quoted(struct text value) {
  if (value.at == NULL || *value.at != '"') return (struct text){NULL, 0};
  return (struct text){value.at + 1, value.length - 2};
}

// Writes a code point as UTF-8; returns how many bytes, 0 where it does not fit or cannot stand in a C string.
static size_t put_code(unsigned code, char *out, size_t room) {
  size_t bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  if (code == 0 || room < bytes) return 0;
  if (bytes == 1) {
    out[0] = (char)code;
    return 1;
  }
  for (size_t i = bytes - 1; i > 0; i--, code >>= 6)
    out[i] = (char)(0x80 | (code & 0x3f));
  out[0] = (char)((0xf00u >> bytes & 0xf0) | code);
  return bytes;
}

// The code point of the escape at `*at`, behind its backslash, which moves on behind it; 0 where there is none.
static unsigned escaped(const char **at, const char *end) {
  static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
  if (**at != 'u') {
    const char *name = memchr(names, *(*at)++, 8);
    return name == NULL ? 0 : (unsigned char)means[name - names];
  }
  int word = hex_word(*at + 1, end);
  *at += 5;
  if (word < 0xd800 || word > 0xdfff) return word < 0 ? 0 : (unsigned)word;
  if (word > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u') return 0;
  int low = hex_word(*at + 2, end);
  *at += 6;
  return low < 0xdc00 || low > 0xdfff ? 0 : 0x10000u + ((unsigned)(word - 0xd800) << 10) + (unsigned)(low - 0xdc00);
}

bool scan_string(struct text value, char *out, size_t size) {
  struct text inner = scan_quoted(value);
  if (inner.at == NULL) return false;
  const char *at = inner.at, *end = at + inner.length;
  size_t used = 0;
  while (at < end) {
    if (used + 1 >= size) return false;
    if (*at != '\\') {
      out[used++] = *at++;
      continue;
    }
    at++;
    unsigned code = escaped(&at, end);
    size_t bytes = put_code(code, out + used, size - used - 1);
    if (bytes == 0) return false;
    used += bytes;
  }
  if (used >= size) return false;
  out[used] = 0;
  return true;
}

long scan_count(struct text value) {
  if (value.at == NULL || value.length == 0 || value.length > 6) return -1;
  long count = 0;
  for (size_t i = 0; i < value.length; i++) {
    if (value.at[i] < '0' || value.at[i] > '9') return -1;
    count = count * 10 + (value.at[i] - '0');
  }
  return count;
}
