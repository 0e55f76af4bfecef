// {{name}}: a release policy. Updates leave no longer than an L2 norm, and not at all if too few examples are behind them.
//
// The types are in polder/polder.h, what each field means is in wit/release.wit.
#include "polder/runtime.h"

static const double norm_max = 10;
static const uint64_t examples_min = 10;

// Called when a worker starts: refuse parameters that are not yours.
bool polder_check(polder_string_t *parameters, polder_error_t *error) { return polder_parameters(parameters, NULL, 0, error); }

bool polder_review(polder_question_t *question, polder_string_t *parameters, polder_answer_t *answer, polder_error_t *error) {
  if (!polder_parameters(parameters, NULL, 0, error)) return false;
  *answer = (polder_answer_t){0};
  polder_text_t text = {0};
  if (question->update.examples < examples_min) {
    answer->verdict.tag = POLDER_VERDICT_WITHHOLD;
    polder_say_count(&text, question->update.examples);
    polder_say(&text, " examples are too few to hide one; this region wants ");
    polder_say_count(&text, examples_min);
  } else {
    answer->verdict.tag = POLDER_VERDICT_RELEASE;
    answer->verdict.val.release = (polder_treatment_t){
        .clip = {.is_some = true, .val = norm_max}, .precision = POLDER_PRECISION_FLOAT32};
    polder_say(&text, "norm ");
    polder_say_number(&text, question->update.norm);
    polder_say(&text, ", of which at most ");
    polder_say_number(&text, norm_max);
    polder_say(&text, " leaves");
  }
  answer->reason = polder_said(&text);
  return true;
}
