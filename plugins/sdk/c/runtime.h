// What a policy in C needs beside the contract's own types: memory, text, parameters. No libc: clang and wasm-ld are enough.
//
// Memory: allocate with polder_new and forget it. Everything that a call allocated, and everything that it was given, is taken back at
// once when the host has read the answer. Do not free, and keep no pointer in a global.
#ifndef POLDER_RUNTIME_H
#define POLDER_RUNTIME_H

#include "polder.h"

// Zeroed memory for `count` things of `bytes` each, aligned to a cache line where it is 1 KiB or more. Traps where there is none left.
void *polder_new(size_t count, size_t bytes);

// A list with room for `count` things: polder_list_f32_t weights = POLDER_LIST(float, count);
#define POLDER_LIST(type, count) {.ptr = polder_new((count), sizeof(type)), .len = (count)}

// Text for a reason or an error: start with {0}, say things, and hand polder_said to the answer.
typedef struct {
  uint8_t *ptr;
  size_t len;
  size_t room;
} polder_text_t;

void polder_say(polder_text_t *text, const char *words);
void polder_say_string(polder_text_t *text, const polder_string_t *words);
void polder_say_count(polder_text_t *text, uint64_t count);
// Three decimals at most, such as 0.125; 1.5e12 for what is very large or small.
void polder_say_number(polder_text_t *text, double number);
polder_string_t polder_said(const polder_text_t *text);

// What a function that gives no answer leaves in `error`, to return it: return polder_refuse(error, "there is no update");
bool polder_refuse(polder_error_t *error, const char *sentence);

// A parameter that is a number; `value` holds the default.
typedef struct {
  const char *name;
  double value;
} polder_number_t;

// Reads the run's parameters, one JSON object, of which `count` numbers are known: `numbers` may be NULL for a policy without any. False, with
// the error set, for anything else; check ranges yourself.
bool polder_parameters(const polder_string_t *parameters, polder_number_t *numbers, size_t count, polder_error_t *error);

// Leaves `error` with a sentence about the parameters, such as a value out of range.
bool polder_refuse_parameters(polder_error_t *error, const char *sentence);

#endif
