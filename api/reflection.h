/* SPDX-License-Identifier: Apache-2.0 */
/* Server reflection: the descriptors of our protos, as protoc wrote them, indexed by file and
 * symbol. Const after start. */
#pragma once

struct reflection;

/* -ENOMEM, -EBADMSG (the built-in descriptors are damaged). */
int reflection_new(struct reflection **ret_reflection);
struct reflection *reflection_free(struct reflection *r);
