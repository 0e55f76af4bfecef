#include "runtime.h"

#include <stdlib.h>
#include <string.h>

// The arena: from the end of what the linker laid out to wherever the memory reaches.
extern uint8_t __heap_base;
static uintptr_t used;

#define PAGE_BYTES 65536u
#define LINE_BYTES 64u
#define LARGE_BYTES 1024u

// Large blocks start on a cache line, so that vector loads and stores never straddle two.
static void *take(size_t bytes, size_t align) {
  if (used == 0) used = (uintptr_t)&__heap_base;
  if (align < 16) align = 16;
  if (bytes >= LARGE_BYTES && align < LINE_BYTES) align = LINE_BYTES;
  uint64_t start = ((uint64_t)used + align - 1) & ~((uint64_t)align - 1);
  uint64_t end = start + bytes;
  uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE_BYTES;
  if (end > have) {
    uint64_t pages = (end - have + PAGE_BYTES - 1) / PAGE_BYTES;
    if (pages > 65536 || __builtin_wasm_memory_grow(0, (size_t)pages) == (size_t)-1) __builtin_trap();
  }
  used = (uintptr_t)end;
  return (void *)(uintptr_t)start;
}

void polder_take_back(void) { used = 0; }

void *polder_new(size_t count, size_t bytes) {
  size_t all;
  if (__builtin_mul_overflow(count, bytes, &all)) __builtin_trap();
  return memset(take(all, 1), 0, all);
}

// Where the host puts what it gives.
__attribute__((__export_name__("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_bytes, size_t align, size_t bytes) {
  if (bytes == 0) return (void *)align;
  void *block = take(bytes, align);
  return old_bytes == 0 ? block : memcpy(block, old, old_bytes < bytes ? old_bytes : bytes);
}

// What the generated code and the compiler call. With bulk memory these are single instructions, and no recursion.
void *malloc(size_t bytes) { return take(bytes, 1); }
void free(void *block) { (void)block; }
void *realloc(void *block, size_t bytes) { return block == NULL ? malloc(bytes) : memmove(malloc(bytes), block, bytes); }
_Noreturn void abort(void) { __builtin_trap(); }
void *memcpy(void *restrict to, const void *restrict from, size_t bytes) { return __builtin_memcpy(to, from, bytes); }
void *memmove(void *to, const void *from, size_t bytes) { return __builtin_memmove(to, from, bytes); }
void *memset(void *to, int byte, size_t bytes) { return __builtin_memset(to, byte, bytes); }

int memcmp(const void *a, const void *b, size_t bytes) {
  const uint8_t *left = a, *right = b;
  for (size_t i = 0; i < bytes; i++) {
    if (left[i] != right[i]) return left[i] - right[i];
  }
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}

static void append(polder_text_t *text, const void *bytes, size_t count) {
  if (text->room - text->len < count) {
    size_t room = 2 * (text->len + count);
    uint8_t *larger = take(room, 1);
    if (text->len > 0) memcpy(larger, text->ptr, text->len);
    text->ptr = larger;
    text->room = room;
  }
  memcpy(text->ptr + text->len, bytes, count);
  text->len += count;
}

void polder_say(polder_text_t *text, const char *words) { append(text, words, strlen(words)); }

void polder_say_string(polder_text_t *text, const polder_string_t *words) { append(text, words->ptr, words->len); }

void polder_say_count(polder_text_t *text, uint64_t count) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + count % 10);
    count /= 10;
  } while (count > 0);
  append(text, digits + at, sizeof digits - at);
}

void polder_say_number(polder_text_t *text, double number) {
  if (number != number) return polder_say(text, "NaN");
  if (number < 0) {
    polder_say(text, "-");
    number = -number;
  }
  if (number > 1.7976931348623157e308) return polder_say(text, "infinity");
  int exponent = 0;
  if (number != 0 && (number < 1e-3 || number >= 1e9)) {
    for (; number >= 10; number /= 10) exponent++;
    for (; number < 1; number *= 10) exponent--;
  }
  uint64_t thousandths = (uint64_t)(number * 1000 + 0.5);
  polder_say_count(text, thousandths / 1000);
  char decimals[4] = {'.', (char)('0' + thousandths / 100 % 10), (char)('0' + thousandths / 10 % 10), (char)('0' + thousandths % 10)};
  size_t shown = sizeof decimals;
  while (shown > 1 && decimals[shown - 1] == '0') shown--;
  if (shown > 1) append(text, decimals, shown);
  if (exponent == 0) return;
  polder_say(text, exponent < 0 ? "e-" : "e");
  polder_say_count(text, (uint64_t)(exponent < 0 ? -exponent : exponent));
}

polder_string_t polder_said(const polder_text_t *text) { return (polder_string_t){.ptr = text->ptr, .len = text->len}; }

static bool fail(polder_error_t *error, uint8_t tag, const polder_text_t *text) {
  error->tag = tag;
  error->val.question = polder_said(text);
  return false;
}

bool polder_refuse(polder_error_t *error, const char *sentence) {
  polder_text_t text = {0};
  polder_say(&text, sentence);
  return fail(error, POLDER_ERROR_QUESTION, &text);
}

bool polder_refuse_parameters(polder_error_t *error, const char *sentence) {
  polder_text_t text = {0};
  polder_say(&text, sentence);
  return fail(error, POLDER_ERROR_PARAMETERS, &text);
}

// Reading parameters.

typedef struct {
  const uint8_t *at, *end;
} reader_t;

static uint8_t peek(reader_t *reader) {
  while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r')) {
    reader->at++;
  }
  return reader->at < reader->end ? *reader->at : 0;
}

static bool skip(reader_t *reader, uint8_t byte) {
  if (peek(reader) != byte) return false;
  reader->at++;
  return true;
}

static bool digits(reader_t *reader, double *number, int *places) {
  const uint8_t *first = reader->at;
  for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++) {
    *number = *number * 10 + (*reader->at - '0');
    *places += 1;
  }
  return reader->at > first;
}

// Exact for what people write: up to 15 digits and exponents up to 22.
static bool read_number(reader_t *reader, double *value) {
  bool is_negative = skip(reader, '-');
  double number = 0, exponent = 0;
  int whole = 0, places = 0, ignored = 0;
  if (!digits(reader, &number, &whole)) return false;
  if (reader->at < reader->end && *reader->at == '.') {
    reader->at++;
    if (!digits(reader, &number, &places)) return false;
  }
  if (reader->at < reader->end && (*reader->at | 32) == 'e') {
    reader->at++;
    bool is_small = reader->at < reader->end && *reader->at == '-';
    if (is_small || (reader->at < reader->end && *reader->at == '+')) reader->at++;
    if (!digits(reader, &exponent, &ignored)) return false;
    if (is_small) exponent = -exponent;
  }
  exponent -= places;
  if (exponent > 400 || exponent < -400) return false;
  double scale = 1;
  for (int i = 0; i < (exponent < 0 ? -exponent : exponent); i++) scale *= 10;
  *value = exponent < 0 ? number / scale : number * scale;
  if (is_negative) *value = -*value;
  return *value - *value == 0;
}

static bool unknown(const uint8_t *key, size_t bytes, polder_number_t *numbers, size_t count, polder_error_t *error) {
  polder_string_t name = {.ptr = (uint8_t *)key, .len = bytes};
  polder_text_t text = {0};
  polder_say(&text, "unknown parameter `");
  polder_say_string(&text, &name);
  polder_say(&text, count == 0 ? "`; there are none" : "`; there is");
  for (size_t i = 0; i < count; i++) {
    polder_say(&text, i == 0 ? " " : ", ");
    polder_say(&text, numbers[i].name);
  }
  return fail(error, POLDER_ERROR_PARAMETERS, &text);
}

bool polder_parameters(const polder_string_t *parameters, polder_number_t *numbers, size_t count, polder_error_t *error) {
  const char *malformed = "the parameters are no JSON object of numbers";
  reader_t reader = {.at = parameters->ptr, .end = parameters->ptr + parameters->len};
  if (peek(&reader) == 0 && reader.at == reader.end) return true;
  if (!skip(&reader, '{')) return polder_refuse_parameters(error, malformed);
  bool is_first = true;
  while (!skip(&reader, '}')) {
    if (!is_first && !skip(&reader, ',')) return polder_refuse_parameters(error, malformed);
    if (!skip(&reader, '"')) return polder_refuse_parameters(error, malformed);
    const uint8_t *key = reader.at;
    while (reader.at < reader.end && *reader.at != '"') reader.at++;
    size_t bytes = (size_t)(reader.at - key);
    size_t known = 0;
    while (known < count && (strlen(numbers[known].name) != bytes || memcmp(numbers[known].name, key, bytes) != 0)) known++;
    if (!skip(&reader, '"') || !skip(&reader, ':')) return polder_refuse_parameters(error, malformed);
    if (known == count) return unknown(key, bytes, numbers, count, error);
    peek(&reader);
    if (!read_number(&reader, &numbers[known].value)) return polder_refuse_parameters(error, malformed);
    is_first = false;
  }
  peek(&reader);
  return reader.at == reader.end || polder_refuse_parameters(error, malformed);
}
