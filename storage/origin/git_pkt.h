/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of Git's protocol, version 2 (gitprotocol-common(5), gitprotocol-v2(5)): packets, and
 * what the answers that we ask for consist of. All of it comes from a server and is not trusted.
 * Pure.
 */
#pragma once
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;

#define GITPKT_MAX 65520u /* with its header */

enum gitpkt_type { GITPKT_FLUSH, GITPKT_DELIM, GITPKT_END, GITPKT_DATA };

struct gitpkt {
	enum gitpkt_type type;
	const uint8_t *data; /* in the caller's bytes */
	size_t len;
};

/* The packet at the beginning of `data`: how long it is with its header, 0 if there are not enough
 * bytes yet, or -EIO. */
ssize_t gitpkt_take(const void *data, size_t len, struct gitpkt *ret_pkt);
/* Append a line as a packet (a longer one than fits is -EMSGSIZE, as buf_error then says). */
void gitpkt_put(struct buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gitpkt_put_flush(struct buf *out);
void gitpkt_put_delim(struct buf *out);

/* What a server offers, collected over the lines of its greeting. */
struct gitpkt_offer {
	bool version2, filter, object_info, sha1, other_hash;
};
void gitpkt_offer_line(struct gitpkt_offer *offer, const struct gitpkt *pkt);

/* "<oid> <name>[ symref-target:<ref>][ peeled:<oid>]" */
struct gitpkt_ref {
	struct oid oid;
	struct oid peeled; /* len 0: none */
	char name[256];
	char target[256]; /* "": none */
	bool unborn;      /* no oid */
};
/* -EIO: not such a line. 0: one, or (name "") one whose name is longer than those of our callers'
 * revisions. */
int gitpkt_ref_line(const struct gitpkt *pkt, struct gitpkt_ref *ret_ref);
/* "<oid> <size>"; -EIO, also if the server does not know the object. */
int gitpkt_size_line(const struct gitpkt *pkt, struct oid *ret_oid, uint64_t *ret_size);
/* "ERR <message>": copied, cleaned for people. */
bool gitpkt_error_line(const struct gitpkt *pkt, char *message, size_t cap);
/* Control characters become blanks, ends are trimmed. */
void gitpkt_clean_text(char *text);
