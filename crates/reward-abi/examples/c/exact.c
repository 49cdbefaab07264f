/* A reward in C: a point for an answer that equals a golden answer, byte for byte.
 *
 * Most rewards in another language are easier as a program of their own: plugins/process. This is
 * for those that must be as fast as one in Rust, or that call a library in C. What both sides
 * promise stands in crates/reward-abi/src/lib.rs, the names of the data in
 * crates/reward-sdk/src/wire.rs. */

#include "../../include/forage_reward.h"
#include "msgpack.h"

#include <string.h>

/* The meaning of the data that this file was written for: WIRE_VERSION in the SDK. */
#define WIRE_VERSION 1

/* Whoever sees a plugin made of C strings counts their bytes by itself. */
#define BYTES(text) {(const uint8_t *)(text), sizeof(text) - 1}

/* Answers. The host copies the bytes before this returns, and appends them to what is there. */
static void say(ForageSink sink, const void *bytes, size_t count) {
  ForageBytes run = {bytes, count};
  sink.write(sink.ctx, run);
}

#define SAY(sink, literal) say(sink, literal, sizeof(literal) - 1)

static ForageStatus refuse(ForageSink sink, const char *why) {
  say(sink, why, strlen(why));
  return ForageStatus_ERROR;
}

/* Makes an instance. This one has nothing to remember, but null would be none. */
static ForageStatus create(const ForageHostApi *host, ForageBytes config, void **out,
                           ForageSink sink) {
  static char instance;
  /* The table `config` of the run file, in JSON. An option that nobody reads is an error. */
  if (config.len != 2 || memcmp(config.ptr, "{}", 2) != 0) {
    return refuse(sink, "the reward `exact` has no options: leave `config` away");
  }
  static const ForageBytes name = BYTES("exact"), greeting = BYTES("a reward in C");
  host->log(5, name, greeting);
  *out = &instance;
  return ForageStatus_OK;
}

static void destroy(void *instance) { (void)instance; }

/* Whether a text is among the texts of a list. */
static int is_among(Head text, const uint8_t *bytes, Reader list) {
  Head items = next(&list);
  for (size_t item = 0; items.kind == LIST && item < items.count; item++) {
    Reader here = list;
    Head other = next(&here);
    if (other.kind == TEXT && other.count == text.count) {
      const uint8_t *others = take(&here, other.count);
      if (others != NULL && memcmp(others, bytes, text.count) == 0) return 1;
    }
    skip(&list);
  }
  return 0;
}

/* Writes the head of a list of up to 2^32 - 1 items. */
static void say_list(ForageSink sink, size_t count) {
  uint8_t head[5] = {0xdd, (uint8_t)(count >> 24), (uint8_t)(count >> 16), (uint8_t)(count >> 8),
                     (uint8_t)count};
  say(sink, head, sizeof head);
}

/* Writes a number. It must be finite. */
static void say_number(ForageSink sink, double number) {
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  uint8_t bytes[9] = {0xcb};
  for (int at = 0; at < 8; at++) bytes[1 + at] = (uint8_t)(bits >> (56 - 8 * at));
  say(sink, bytes, sizeof bytes);
}

/* Scores a group. Called from many threads at once. */
static ForageStatus score(const void *instance, ForageBytes request, ForageSink sink) {
  (void)instance;
  Reader group = {request.ptr, request.ptr + request.len, 0};
  Reader whole = group;
  skip(&whole);
  if (whole.broken) return refuse(sink, "the request is no MessagePack");
  Reader golden_answers = field(field(group, "question"), "golden_answers");
  Reader trajectories = field(group, "trajectories");
  /* What is absent is empty: that is how fields are added without a new wire version. */
  Reader ahead = golden_answers;
  int has_golden_answers = next(&ahead).count > 0;
  size_t n_trajectories = next(&trajectories).count;

  /* One grade for each trajectory, in their order: `{"scored": {"reward": …, "parts": {…}}}`,
   * `{"failed": "why"}` or `"not-applicable"`. */
  say_list(sink, n_trajectories);
  for (size_t at = 0; at < n_trajectories; at++) {
    Reader answer = field(trajectories, "answer");
    skip(&trajectories);
    if (!has_golden_answers) {
      /* Not 0: a question that cannot be judged is no question that was got wrong. */
      SAY(sink, "\xaenot-applicable");
      continue;
    }
    Head text = next(&answer);
    int is_exact = 0;
    if (text.kind == TEXT) {
      const uint8_t *bytes = take(&answer, text.count);
      is_exact = bytes != NULL && is_among(text, bytes, golden_answers);
    }
    SAY(sink, "\x81\xa6scored\x82\xa6reward");
    say_number(sink, is_exact);
    /* Two literals, or the e would be a digit. */
    SAY(sink, "\xa5parts\x81\xa5" "exact");
    say_number(sink, is_exact);
  }
  return ForageStatus_OK;
}

/* All that is exported. */
const ForagePluginDecl FORAGE_REWARD_PLUGIN = {
    .header = {FORAGE_MAGIC, FORAGE_ABI_MAJOR, FORAGE_ABI_MINOR, sizeof(ForagePluginDecl)},
    .wire_version = WIRE_VERSION,
    /* C has no panics, so none ends the process. */
    .panic_unwinds = 1,
    .name = BYTES("exact"),
    .version = BYTES("0.1.0"),
    .sdk_version = BYTES("none"),
    .create = create,
    .score = score,
    .destroy = destroy,
};
