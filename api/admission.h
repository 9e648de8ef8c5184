/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No tenant may take all places of a pool: of each class of calls a tenant has at most three
 * quarters of the queue in flight, so that there is room for another's whatever one does. Any
 * thread; no lock.
 */
#pragma once
#include "methods.h"

struct admission;
struct err;
struct tenant;
struct tenants;

/* The tenants are fixed at start. -ENOMEM. */
int admission_new(struct admission **ret_admission, struct tenants *tenants, unsigned queue_max);
struct admission *admission_free(struct admission *a);
/* -EAGAIN reason OVERLOADED. */
int admission_enter(
	struct admission *a, const struct tenant *tenant, enum rpc_class class, struct err *e);
void admission_leave(struct admission *a, const struct tenant *tenant, enum rpc_class class);
