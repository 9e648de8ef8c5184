/* SPDX-License-Identifier: Apache-2.0 */
/* What inotify tells of a step: the events of the directory of its first path. */
#pragma once
#include "side.h"

/* A descriptor, or -1: nothing to watch. */
int watch_begin(const struct step *step);
void watch_end(struct side *side, int fd);
