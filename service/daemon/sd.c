/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd is told (Type=notify, WatchdogSec). Results are ignored: without a manager that
 * listens nothing is lost. */
#include "sd.h"

#include <base/clock.h>
#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

void sd_tell_ready(void)
{
	(void)sd_notify(0, "READY=1");
}

void sd_tell_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1");
}

void sd_tell_patience(uint64_t wait_ns)
{
	(void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, wait_ns / NS_PER_US);
}

uint64_t sd_watchdog_ns(void)
{
	uint64_t us = 0;

	return sd_watchdog_enabled(0, &us) > 0 ? us * NS_PER_US : 0;
}

void sd_tell_alive(void)
{
	(void)sd_notify(0, "WATCHDOG=1");
}
