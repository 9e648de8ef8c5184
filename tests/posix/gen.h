/* SPDX-License-Identifier: Apache-2.0 */
/* What to do: step `number` of the run `seed`. */
#pragma once
#include "side.h"

void gen_step(uint64_t seed, unsigned number, struct step *ret_step);
const struct op *gen_op(unsigned op);
/* One line, as it is shown to a person. */
void gen_describe(const struct step *step, char *ret_text, size_t cap);
