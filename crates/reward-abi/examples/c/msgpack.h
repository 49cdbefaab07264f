/* Reads MessagePack, as far as a request uses it. Copies nothing and allocates nothing.
 *
 * A reader is a place in the bytes: copy it to come back to that place. What ends too early, or
 * is not MessagePack, sets `broken`, and everything read after that is nil. */

#ifndef MSGPACK_H
#define MSGPACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  const uint8_t *at;
  const uint8_t *end;
  int broken;
} Reader;

/* NUMBER is whatever `count` more bytes hold: numbers, bytes that are no text, true and false. */
typedef enum { NIL, NUMBER, TEXT, LIST, MAP } Kind;

/* The head of a value: the bytes of a text or number, the items of a list, the pairs of a map
 * come after it. */
typedef struct {
  Kind kind;
  size_t count;
} Head;

static inline Head broken(Reader *it) {
  it->broken = 1;
  it->at = it->end;
  return (Head){NIL, 0};
}

static inline size_t left(const Reader *it) { return (size_t)(it->end - it->at); }

/* A head whose count stands in the next `width` bytes, the highest first. */
static inline Head counted(Reader *it, Kind kind, size_t width, size_t more) {
  if (left(it) < width) return broken(it);
  uint32_t count = 0;
  while (width-- > 0) count = count << 8 | *it->at++;
  return (Head){kind, (size_t)count + more};
}

/* The head of the next value. */
static inline Head next(Reader *it) {
  if (left(it) == 0) return broken(it);
  uint8_t tag = *it->at++;
  if (tag <= 0x7f || tag >= 0xe0) return (Head){NUMBER, 0};
  if (tag <= 0x8f) return (Head){MAP, tag & 0x0f};
  if (tag <= 0x9f) return (Head){LIST, tag & 0x0f};
  if (tag <= 0xbf) return (Head){TEXT, tag & 0x1f};
  switch (tag) {
    case 0xc0: return (Head){NIL, 0};
    case 0xc2: case 0xc3: return (Head){NUMBER, 0};
    case 0xc4: return counted(it, NUMBER, 1, 0);
    case 0xc5: return counted(it, NUMBER, 2, 0);
    case 0xc6: return counted(it, NUMBER, 4, 0);
    /* Extensions have a byte more, their type. */
    case 0xc7: return counted(it, NUMBER, 1, 1);
    case 0xc8: return counted(it, NUMBER, 2, 1);
    case 0xc9: return counted(it, NUMBER, 4, 1);
    case 0xcc: case 0xd0: return (Head){NUMBER, 1};
    case 0xcd: case 0xd1: case 0xd4: return (Head){NUMBER, 2};
    case 0xd5: return (Head){NUMBER, 3};
    case 0xca: case 0xce: case 0xd2: return (Head){NUMBER, 4};
    case 0xd6: return (Head){NUMBER, 5};
    case 0xcb: case 0xcf: case 0xd3: return (Head){NUMBER, 8};
    case 0xd7: return (Head){NUMBER, 9};
    case 0xd8: return (Head){NUMBER, 17};
    case 0xd9: return counted(it, TEXT, 1, 0);
    case 0xda: return counted(it, TEXT, 2, 0);
    case 0xdb: return counted(it, TEXT, 4, 0);
    case 0xdc: return counted(it, LIST, 2, 0);
    case 0xdd: return counted(it, LIST, 4, 0);
    case 0xde: return counted(it, MAP, 2, 0);
    case 0xdf: return counted(it, MAP, 4, 0);
    default: return broken(it);
  }
}

/* Goes past the bytes of a text or a number, and says where they are. */
static inline const uint8_t *take(Reader *it, size_t count) {
  const uint8_t *bytes = it->at;
  if (left(it) < count) {
    broken(it);
    return NULL;
  }
  it->at += count;
  return bytes;
}

/* Goes past the next value and all that is in it. */
static inline void skip(Reader *it) {
  /* Not by recursion: how deep it goes is the sender's choice. */
  for (uint64_t n_values = 1; n_values > 0 && !it->broken; n_values--) {
    Head head = next(it);
    if (head.kind == LIST) n_values += head.count;
    else if (head.kind == MAP) n_values += 2 * (uint64_t)head.count;
    else take(it, head.count);
  }
}

/* The value under a name of the map that begins at `it`; nil where it is absent. Fields come in
 * any order, and there may be some that are not known here. */
static inline Reader field(Reader it, const char *name) {
  static const uint8_t nil = 0xc0;
  Head map = next(&it);
  for (size_t pair = 0; map.kind == MAP && pair < map.count && !it.broken; pair++) {
    Head key = next(&it);
    if (key.kind != TEXT) {
      broken(&it);
      break;
    }
    const uint8_t *text = take(&it, key.count);
    if (text != NULL && key.count == strlen(name) && memcmp(text, name, key.count) == 0) return it;
    skip(&it);
  }
  return (Reader){&nil, &nil + 1, it.broken};
}

#endif /* MSGPACK_H */
