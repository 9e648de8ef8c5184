/* SPDX-License-Identifier: Apache-2.0 */
/* The node's facts, fixed, so that a test can expect them; and the one function of the session
 * floor that the api calls. */
#include <stdio.h>

#include "fuse/session.h"
#include "service/node.h"

void node_facts(const struct node *n, struct node_facts *ret_facts)
{
	(void)n;
	*ret_facts = (struct node_facts){
		.resident_bytes = 1, .open_descriptors = 2, .disk_free_bytes = 3, .cpu_time_ns = 4};
	(void)snprintf(ret_facts->hostname, sizeof(ret_facts->hostname), "testhost");
	(void)snprintf(ret_facts->kernel, sizeof(ret_facts->kernel), "6.1.0");
}

const char *node_version(void)
{
	return "0.0.test";
}

const char *sess_opcode_name(unsigned opcode)
{
	return opcode == 1 ? "LOOKUP" : NULL;
}
