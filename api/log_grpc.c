/* SPDX-License-Identifier: Apache-2.0 */
/* The function is the library's one global hook; it keeps no state. Any thread of grpc. */
#include "log_grpc.h"

#include <grpc/support/log.h>

#include "base/log.h"

static void write_line(gpr_log_func_args *args)
{
	/* what grpc calls an error is mostly a peer that went away: its caller sees the status */
	log_at(args->severity == GPR_LOG_SEVERITY_ERROR ? LOG_WARN : LOG_DEBUG, "grpc",
		LOG_S("message", args->message), LOG_S("file", args->file),
		LOG_I("line", args->line));
}

void log_redirect_grpc(void)
{
	gpr_set_log_function(write_line);
}
