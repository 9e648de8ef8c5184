/* SPDX-License-Identifier: Apache-2.0 */
/* admission.c: three quarters of a class for one tenant, classes apart, places come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "admission.h"
#include "alloc_fault.h"
#include "base/err.h"
#include "service/config.h"
#include "service/tenants.h"

static struct tenants *two_tenants(void)
{
	static struct cfg_tenant all[] = {{.name = (char *)"a"}, {.name = (char *)"b"}};
	static const struct cfg cfg = {.tenants = all, .tenant_count = 2};
	struct tenants *tenants;

	assert_int_equal(tenants_new(&tenants, &cfg, NULL), 0);
	return tenants;
}

static void test_share(void **state)
{
	struct tenants *tenants = two_tenants();
	const struct tenant *one = tenants_find(tenants, "a"), *two = tenants_find(tenants, "b");
	struct admission *a;
	struct err e = {0};

	(void)state;
	assert_int_equal(admission_new(&a, tenants, 8), 0);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(admission_enter(a, one, RPC_CREATE, &e), 0);
	for (unsigned i = 0; i < 3; i++) /* a refusal takes no place */
		assert_int_equal(admission_enter(a, one, RPC_CREATE, &e), -EAGAIN);
	assert_string_equal(err_reason(&e), "OVERLOADED");
	assert_int_equal(admission_enter(a, one, RPC_WORK, &e), 0);
	assert_int_equal(admission_enter(a, two, RPC_CREATE, &e), 0);
	admission_leave(a, one, RPC_CREATE);
	assert_int_equal(admission_enter(a, one, RPC_CREATE, &e), 0);
	assert_int_equal(admission_enter(a, one, RPC_CREATE, &e), -EAGAIN);
	a = admission_free(a);
	tenants = tenants_free(tenants);
}

static void test_no_memory(void **state)
{
	struct tenants *tenants = two_tenants();

	(void)state;
	for (unsigned n = 0;; n++) {
		struct admission *a = NULL;
		int r;

		alloc_fault_arm(n);
		r = admission_new(&a, tenants, 8);
		if (!alloc_fault_disarm()) {
			assert_int_equal(r, 0);
			a = admission_free(a);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_null(a);
	}
	tenants = tenants_free(tenants);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
