/* SPDX-License-Identifier: Apache-2.0 */
/* Counters by tenant and class, in a map that is const after start. */
#include "admission.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/hashmap.h"
#include "service/tenants.h"

struct shares {
	_Atomic unsigned in_flight[RPC_CLASS_COUNT];
};

struct admission {
	struct hashmap by_tenant; /* const after init: address of a tenant → struct shares */
	unsigned share;           /* const after init */
	int error;                /* of the visits at start */
};

static void add_tenant(void *arg, struct tenant *tenant)
{
	struct admission *a = arg;
	struct shares *shares = calloc(1, sizeof(*shares));
	int r = shares ? hashmap_insert(&a->by_tenant, (uint64_t)(uintptr_t)tenant, shares)
		       : -ENOMEM;

	if (r < 0) {
		free(shares);
		a->error = r;
	}
}

int admission_new(struct admission **ret_admission, struct tenants *tenants, unsigned queue_max)
{
	struct admission *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	hashmap_init(&a->by_tenant);
	a->share = queue_max - queue_max / 4;
	tenants_each(tenants, add_tenant, a);
	r = a->error;
	if (r < 0) {
		(void)admission_free(a);
		return r;
	}
	*ret_admission = a;
	return 0;
}

struct admission *admission_free(struct admission *a)
{
	if (!a)
		return NULL;
	for (struct hashmap_cursor it = {0}; hashmap_next(&a->by_tenant, &it);)
		free(it.value);
	hashmap_fini(&a->by_tenant);
	free(a);
	return NULL;
}

static _Atomic unsigned *counter(
	struct admission *a, const struct tenant *tenant, enum rpc_class class)
{
	struct shares *shares = hashmap_find(&a->by_tenant, (uint64_t)(uintptr_t)tenant);

	return shares ? &shares->in_flight[class] : NULL;
}

int admission_enter(
	struct admission *a, const struct tenant *tenant, enum rpc_class class, struct err *e)
{
	_Atomic unsigned *in_flight = counter(a, tenant, class);

	/* relaxed: a count that is compared with a limit, nothing is published by it */
	if (in_flight && atomic_fetch_add_explicit(in_flight, 1, memory_order_relaxed) < a->share)
		return 0;
	if (in_flight)
		atomic_fetch_sub_explicit(in_flight, 1, memory_order_relaxed);
	return err_set(e, -EAGAIN, "OVERLOADED",
		"tenant \"%s\" has too many calls of this kind in flight; try again later",
		tenant_name(tenant));
}

void admission_leave(struct admission *a, const struct tenant *tenant, enum rpc_class class)
{
	_Atomic unsigned *in_flight = counter(a, tenant, class);

	if (in_flight)
		atomic_fetch_sub_explicit(in_flight, 1, memory_order_relaxed); /* as above */
}
