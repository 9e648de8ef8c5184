/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to a Git server's upload-pack; see git_channel.h. */
#pragma once

struct err;
struct gitchan_server;
struct gitrun;
struct gitrun_wait;

int gitconnect_http(struct gitrun *run, const struct gitchan_server *server, struct err *e);
int gitconnect_ssh(struct gitrun *run, const struct gitchan_server *server, struct err *e);
int gitconnect_daemon(struct gitrun *run, const struct gitchan_server *server,
	const struct gitrun_wait *wait, struct err *e);
