// The end of every call: the arena is empty again. These replace the weak functions of polder.c, which would free piece by piece.
#include "polder.h"

void polder_take_back(void);

#define ENDS(call)                                                                         \
  __attribute__((__export_name__("cabi_post_polder:policy/releaser@0.2.0#" #call)))             \
  void __wasm_export_polder_##call##_post_return(uint8_t *answer) {                        \
    (void)answer;                                                                          \
    polder_take_back();                                                                    \
  }

ENDS(check)
ENDS(review)
