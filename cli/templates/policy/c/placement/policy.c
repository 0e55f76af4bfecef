// {{name}}: a placement policy. The workers with the most free slots first; among equals, in name order.
//
// The types are in polder/polder.h, what each field means is in wit/placement.wit.
#include "polder/runtime.h"

// Called when a run is submitted: refuse parameters that are not yours.
bool polder_check(polder_string_t *parameters, polder_error_t *error) { return polder_parameters(parameters, NULL, 0, error); }

static uint32_t best_of(const polder_list_u32_t *open, const uint32_t *slots_free) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < open->len; i++) {
    if (slots_free[open->ptr[i]] > slots_free[open->ptr[best]]) best = i;
  }
  return best;
}

static polder_string_t reason(const polder_worker_t *worker, uint32_t slots_free) {
  polder_text_t text = {0};
  polder_say_count(&text, slots_free);
  polder_say(&text, " of ");
  polder_say_count(&text, worker->slots);
  polder_say(&text, " slots free");
  return polder_said(&text);
}

static polder_string_t too_few(const polder_demand_t *demand, size_t open) {
  polder_text_t text = {0};
  polder_say(&text, "the round needs ");
  polder_say_count(&text, demand->seats_min);
  polder_say(&text, " workers, and ");
  polder_say_count(&text, open);
  polder_say(&text, " have a free slot");
  return polder_said(&text);
}

bool polder_place(polder_question_t *question, polder_string_t *parameters, polder_answer_t *answer, polder_error_t *error) {
  if (!polder_parameters(parameters, NULL, 0, error)) return false;
  size_t seats = 0;
  for (size_t d = 0; d < question->demands.len; d++) seats += question->demands.ptr[d].candidates.len;
  // seats that this answer gives away are gone for the demands after it
  uint32_t *slots_free = polder_new(question->workers.len, sizeof *slots_free);
  for (size_t w = 0; w < question->workers.len; w++) slots_free[w] = question->workers.ptr[w].slots_free;

  *answer = (polder_answer_t){0};
  answer->assignments = (polder_list_assignment_t)POLDER_LIST(polder_assignment_t, seats);
  answer->declined = (polder_list_declined_t)POLDER_LIST(polder_declined_t, question->demands.len);
  answer->assignments.len = answer->declined.len = 0;
  for (uint32_t d = 0; d < question->demands.len; d++) {
    const polder_demand_t *demand = &question->demands.ptr[d];
    polder_list_u32_t open = POLDER_LIST(uint32_t, demand->candidates.len);
    open.len = 0;
    for (size_t i = 0; i < demand->candidates.len; i++) {
      if (slots_free[demand->candidates.ptr[i]] > 0) open.ptr[open.len++] = demand->candidates.ptr[i];
    }
    if (open.len == 0 || open.len < demand->seats_min) {
      answer->declined.ptr[answer->declined.len++] = (polder_declined_t){.demand = d, .reason = too_few(demand, open.len)};
      continue;
    }
    for (uint32_t seat = 0; seat < demand->seats && open.len > 0; seat++) {
      uint32_t best = best_of(&open, slots_free);
      uint32_t worker = open.ptr[best];
      answer->assignments.ptr[answer->assignments.len++] = (polder_assignment_t){
          .demand = d, .worker = worker, .reason = reason(&question->workers.ptr[worker], slots_free[worker])};
      slots_free[worker]--;
      open.len--;
      for (uint32_t i = best; i < open.len; i++) open.ptr[i] = open.ptr[i + 1];
    }
  }
  return true;
}
