/* SPDX-License-Identifier: Apache-2.0 */
/* methods.c: the rows are in order, every one is found, nothing else is, and each RPC of our protos
 * has one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <coppice/v1/mount.pb-c.h>
#include <coppice/v1/node.pb-c.h>
#include <coppice/v1/workflow.pb-c.h>
#include <grpc/health/v1/health.pb-c.h>
#include <stdio.h>
#include <string.h>

#include "methods.h"

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < rpc_method_count; i++) {
		const char *path = rpc_methods[i].path;
		char longer[160];

		if (i)
			assert_true(strcmp(rpc_methods[i - 1].path, path) < 0);
		assert_ptr_equal(rpc_method_find(path, strlen(path)), &rpc_methods[i]);
		assert_null(rpc_method_find(path, strlen(path) - 1));
		(void)snprintf(longer, sizeof(longer), "%sx", path);
		assert_null(rpc_method_find(longer, strlen(longer)));
		/* only a stream may be without an end */
		assert_true(
			rpc_methods[i].deadline_max_s || rpc_methods[i].shape == RPC_SERVER_STREAM);
	}
	assert_null(rpc_method_find("", 0));
	assert_null(rpc_method_find("/", 1));
	assert_null(rpc_method_find("/zzz", 4));
}

static void test_every_rpc_has_a_row(void **state)
{
	const ProtobufCServiceDescriptor *const services[] = {
		&coppice__v1__mount_service__descriptor, &coppice__v1__node_service__descriptor,
		&coppice__v1__workflow_service__descriptor, &grpc__health__v1__health__descriptor};

	(void)state;
	for (size_t s = 0; s < 4; s++)
		for (unsigned m = 0; m < services[s]->n_methods; m++) {
			const struct rpc_method *row;
			char path[128];

			(void)snprintf(path, sizeof(path), "/%s/%s", services[s]->name,
				services[s]->methods[m].name);
			row = rpc_method_find(path, strlen(path));
			assert_non_null(row);
			assert_ptr_equal(row->input, services[s]->methods[m].input);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_every_rpc_has_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
