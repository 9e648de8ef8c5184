/* SPDX-License-Identifier: Apache-2.0 */
/* Readiness for systemd (Type=notify). The result is ignored: without a manager that listens
 * nothing is lost. */
#include "sd.h"

#include <systemd/sd-daemon.h>

void sd_tell_ready(void)
{
	(void)sd_notify(0, "READY=1");
}

void sd_tell_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1");
}
