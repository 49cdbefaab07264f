// The binary contract between Forage and a reward plugin, for plugins in C.
//
// Made by cbindgen from crates/reward-abi/src/lib.rs: change that file, and run
//
//     UPDATE_EXPECT=1 cargo test -p forage-reward-abi
//
// The contract itself stands at the head of that file, and an example in examples/c.

#pragma once

#include <stddef.h>
#include <stdint.h>

// First bytes of every declaration.
#define FORAGE_MAGIC {'F', 'O', 'R', 'A', 'G', 'R', 'W', 'D'}

// ABI major version. Bumped on any change that an old plugin or an old host would misread.
#define FORAGE_ABI_MAJOR 1

// ABI minor version. Bumped when a field is appended to [`PluginDecl`] or [`HostApi`].
#define FORAGE_ABI_MINOR 0

// Header of a declaration: the prefix that is the same in every version.
typedef struct {
  // [`MAGIC`].
  uint8_t magic[8];
  // [`ABI_MAJOR`] as the plugin was built.
  uint32_t abi_major;
  // [`ABI_MINOR`] as the plugin was built.
  uint32_t abi_minor;
  // `size_of::<PluginDecl>()` as the plugin was built.
  size_t decl_size;
} ForageHeader;

// Borrowed bytes, valid until the call that they were passed to returns.
typedef struct {
  // Start of the bytes; may dangle when `len` is zero.
  const uint8_t *ptr;
  // Length in bytes.
  size_t len;
} ForageBytes;

// Status of a call. An integer and not an `enum`: a value that this side does not know must be an
// error message, not undefined behaviour.
typedef int32_t ForageStatus;
// Success: the sink holds the reply.
#define ForageStatus_OK 0
// The plugin returned an error; the sink holds a UTF-8 message.
#define ForageStatus_ERROR 1
// The plugin panicked and was caught; the sink holds a UTF-8 message.
#define ForageStatus_PANICKED 2
// The reply breaks the contract, as the SDK of the plugin found; the sink holds a UTF-8
// message.
#define ForageStatus_BROKE_CONTRACT 3

// Functions that the host offers a plugin. The table lives as long as the process.
typedef struct {
  // `size_of::<HostApi>()` as the host was built.
  size_t size;
  // Writes one log line, from any thread. `level` is 1 (error) to 5 (trace), `target` the
  // plugin's name. Must not unwind.
  void (*log)(uint32_t level, ForageBytes target, ForageBytes message);
} ForageHostApi;

// Output of a call: its owner copies the bytes before `write` returns.
typedef struct {
  // Passed back to `write` untouched.
  void *ctx;
  // Appends a copy of `bytes`. Must not unwind.
  void (*write)(void *ctx, ForageBytes bytes);
} ForageSink;

// Declaration of a plugin, which it exports under [`DECL_SYMBOL`].
typedef struct {
  // Header. Nothing else is read before the versions are known to agree.
  ForageHeader header;
  // Version of the serialized request and reply.
  uint32_t wire_version;
  // 1 if panics unwind in the plugin, 0 if they abort the process.
  uint32_t panic_unwinds;
  // Name of the plugin's crate, in UTF-8.
  ForageBytes name;
  // Version of the plugin's crate. For messages only.
  ForageBytes version;
  // Version of the SDK the plugin was built with. For messages only.
  ForageBytes sdk_version;
  // Creates an instance from a configuration, a JSON value, and writes it to `out`.
  ForageStatus (*create)(const ForageHostApi *host, ForageBytes config, void **out, ForageSink sink);
  // Scores one serialized group. It may be called from many threads at once.
  ForageStatus (*score)(const void *instance, ForageBytes request, ForageSink sink);
  // Drops the instance.
  void (*destroy)(void *instance);
} ForagePluginDecl;

// Says how far the reward applies to each of the serialized questions. It may be called from many
// threads at once, and calls no server.
typedef ForageStatus (*ForageApplicabilityFn)(const void *instance,
                                              ForageBytes request,
                                              ForageSink sink);

// The symbol that every plugin exports, and defines.
extern const ForagePluginDecl FORAGE_REWARD_PLUGIN;

// A symbol that a plugin may export besides.
extern const ForageApplicabilityFn FORAGE_REWARD_APPLICABILITY;
