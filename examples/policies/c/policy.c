// Median with momentum: the median of every parameter, and a server that keeps its course.
//
// The aggregate is the coordinate-wise median (D. Yin, Y. Chen, K. Ramchandran, P. Bartlett: Byzantine-Robust Distributed Learning, ICML 2018,
// definition 1): fewer than half of the updates can lie, and no parameter is beyond what an honest update says. The step is FedAvgM (T. Hsu,
// H. Qi, M. Brown: Measuring the Effects of Non-Identical Data Distribution, 2019): v = momentum * v + aggregate, model = model + learning_rate * v.
//
// Parameters: momentum (0.9, at least 0 and below 1) and learning_rate (1, above 0).
#include "polder.h"
#include "runtime.h"

// Values that are sorted side by side: enough for the compiler to fill vectors, few enough to stay in the cache.
#define SIDE_BY_SIDE 64

typedef struct {
  float momentum, learning_rate;
} settings_t;

static bool read(const polder_string_t *parameters, settings_t *settings, polder_error_t *error) {
  polder_number_t numbers[] = {{"momentum", 0.9}, {"learning_rate", 1}};
  if (!polder_parameters(parameters, numbers, 2, error)) return false;
  double momentum = numbers[0].value, learning_rate = numbers[1].value;
  if (momentum < 0 || momentum >= 1) return polder_refuse_parameters(error, "momentum must be at least 0 and below 1");
  if (learning_rate <= 0) return polder_refuse_parameters(error, "learning_rate must be above 0");
  *settings = (settings_t){.momentum = (float)momentum, .learning_rate = (float)learning_rate};
  return true;
}

bool polder_describe(polder_string_t *parameters, polder_traits_t *traits, polder_error_t *error) {
  settings_t settings;
  if (!read(parameters, &settings, error)) return false;
  *traits = (polder_traits_t){.shape = POLDER_SHAPE_COLUMNS, .updates_min = 1, .has_step = true, .state_tensors = 1};
  return true;
}

bool polder_weigh(polder_question_t *question, polder_string_t *parameters, polder_plan_t *plan, polder_error_t *error) {
  settings_t settings;
  if (!read(parameters, &settings, error)) return false;
  size_t count = question->updates.len;
  if (count == 0) return polder_refuse(error, "there is no update to take the median of");
  *plan = (polder_plan_t){0};
  plan->weights = (polder_list_f32_t)POLDER_LIST(float, count);
  for (size_t k = 0; k < count; k++) plan->weights.ptr[k] = 1;
  polder_text_t text = {0};
  polder_say(&text, "the median of ");
  polder_say_count(&text, count);
  polder_say(&text, " updates, with momentum ");
  polder_say_number(&text, settings.momentum);
  plan->reason = polder_said(&text);
  return true;
}

// The smaller of each pair to a, the larger to b. Comparing and choosing, without branches, so that vectors do it.
static void order(float *restrict a, float *restrict b) {
  for (size_t i = 0; i < SIDE_BY_SIDE; i++) {
    float low = a[i] < b[i] ? a[i] : b[i], high = a[i] < b[i] ? b[i] : a[i];
    a[i] = low;
    b[i] = high;
  }
}

// Odd-even transposition sort: count rounds of neighbours sort any order, and which are compared does not depend on the values.
static void sort(float (*rows)[SIDE_BY_SIDE], size_t count) {
  for (size_t round = 0; round < count; round++) {
    for (size_t k = round % 2; k + 1 < count; k += 2) order(rows[k], rows[k + 1]);
  }
}

bool polder_combine(polder_chunk_t *chunk, polder_list_list_f32_t *rows, polder_list_f32_t *weights, polder_string_t *parameters,
                    polder_list_f32_t *aggregate, polder_error_t *error) {
  (void)chunk, (void)weights;
  settings_t settings;
  if (!read(parameters, &settings, error)) return false;
  size_t count = rows->len;
  if (count == 0) return polder_refuse(error, "there is no row to take the median of");
  size_t length = rows->ptr[0].len;
  *aggregate = (polder_list_f32_t)POLDER_LIST(float, length);
  float(*block)[SIDE_BY_SIDE] = polder_new(count, sizeof *block);
  for (size_t start = 0; start < length; start += SIDE_BY_SIDE) {
    size_t width = length - start < SIDE_BY_SIDE ? length - start : SIDE_BY_SIDE;
    for (size_t k = 0; k < count; k++) {
      for (size_t i = 0; i < width; i++) block[k][i] = rows->ptr[k].ptr[start + i];
    }
    sort(block, count);
    const float *low = block[(count - 1) / 2], *high = block[count / 2];
    // halved first: the sum of two large values could overflow
    for (size_t i = 0; i < width; i++) aggregate->ptr[start + i] = low[i] / 2 + high[i] / 2;
  }
  return true;
}

bool polder_step(polder_chunk_t *chunk, polder_list_f32_t *model, polder_list_f32_t *aggregate, polder_list_list_f32_t *extra,
                 polder_list_list_f32_t *state, polder_string_t *parameters, polder_stepped_t *stepped, polder_error_t *error) {
  (void)chunk, (void)extra;
  settings_t settings;
  if (!read(parameters, &settings, error)) return false;
  if (state->len != 1) return polder_refuse(error, "there is not one state tensor");
  float *velocity = state->ptr[0].ptr;
  for (size_t i = 0; i < model->len; i++) {
    velocity[i] = settings.momentum * velocity[i] + aggregate->ptr[i];
    model->ptr[i] += settings.learning_rate * velocity[i];
  }
  *stepped = (polder_stepped_t){.model = *model, .state = *state};
  return true;
}
