// {{name}}: an aggregation policy. The mean of the updates, weighted by their training examples.
//
// The types are in polder/polder.h, what each field means is in wit/aggregation.wit.
#include "polder/runtime.h"

// Called when a run is submitted: refuse parameters that are not yours, and say what the policy must see.
bool polder_describe(polder_string_t *parameters, polder_traits_t *traits, polder_error_t *error) {
  if (!polder_parameters(parameters, NULL, 0, error)) return false;
  *traits = (polder_traits_t){.shape = POLDER_SHAPE_SUMS, .updates_min = 1};
  return true;
}

// Called once a round: how much each update counts.
bool polder_weigh(polder_question_t *question, polder_string_t *parameters, polder_plan_t *plan, polder_error_t *error) {
  if (!polder_parameters(parameters, NULL, 0, error)) return false;
  const polder_list_update_t *updates = &question->updates;
  double examples = 0;
  for (size_t k = 0; k < updates->len; k++) examples += (double)updates->ptr[k].examples;
  if (examples == 0) return polder_refuse(error, "no update reports a training example");

  *plan = (polder_plan_t){0};
  plan->weights = (polder_list_f32_t)POLDER_LIST(float, updates->len);
  for (size_t k = 0; k < updates->len; k++) plan->weights.ptr[k] = (float)((double)updates->ptr[k].examples / examples);
  polder_text_t text = {0};
  polder_say(&text, "the mean of ");
  polder_say_count(&text, updates->len);
  polder_say(&text, " updates, weighted by their training examples");
  plan->reason = polder_said(&text);
  return true;
}

// Only called for POLDER_SHAPE_COLUMNS: the aggregate of a chunk, from every update's values.
bool polder_combine(polder_chunk_t *chunk, polder_list_list_f32_t *rows, polder_list_f32_t *weights, polder_string_t *parameters,
                    polder_list_f32_t *aggregate, polder_error_t *error) {
  (void)chunk, (void)rows, (void)weights, (void)parameters, (void)aggregate;
  return polder_refuse(error, "this policy combines nothing");
}

// Only called where has_step is true: the next model of a chunk, from the model, the aggregate and the state.
bool polder_step(polder_chunk_t *chunk, polder_list_f32_t *model, polder_list_f32_t *aggregate, polder_list_list_f32_t *extra,
                 polder_list_list_f32_t *state, polder_string_t *parameters, polder_stepped_t *stepped, polder_error_t *error) {
  (void)chunk, (void)model, (void)aggregate, (void)extra, (void)state, (void)parameters, (void)stepped;
  return polder_refuse(error, "this policy has no step");
}
