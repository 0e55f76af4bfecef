// As much of it as generated code asks for; see ../runtime.c.
#ifndef POLDER_STDLIB_H
#define POLDER_STDLIB_H
#include <stddef.h>
void *malloc(size_t bytes);
void *realloc(void *block, size_t bytes);
void free(void *block);
_Noreturn void abort(void);
#endif
