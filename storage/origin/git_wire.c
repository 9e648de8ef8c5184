/* SPDX-License-Identifier: Apache-2.0 */
/* See git_wire.h, and gitprotocol-v2(5). */
#include "origin/git_wire.h"

#include "base/buf.h"
#include "base/err.h"
#include "origin/git_fault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_MAX (64u << 20)
#define REFS_MAX    4000000u

enum band { BAND_PACK = 1, BAND_PROGRESS, BAND_ERROR };

static void begin(struct buf *request, const struct gitwire *w, const char *command)
{
	buf_init(request, REQUEST_MAX);
	gitpkt_put(request, "command=%s\n", command);
	gitpkt_put(request, "agent=coppice\n");
	if (w->chan->offer.sha1)
		gitpkt_put(request, "object-format=sha1\n");
	gitpkt_put_delim(request);
}

static int send(const struct gitwire *w, struct buf *request)
{
	int r;

	gitpkt_put_flush(request);
	r = gitchan_send(w->chan, request, &w->wait, w->e);
	buf_fini(request);
	return r;
}

static int malformed(const struct gitwire *w)
{
	return err_set(w->e, -EIO, NULL, "the server's answer is malformed");
}

int gitwire_refs(const struct gitwire *w, const char *const *prefixes, unsigned count,
	gitwire_ref_fn fn, void *arg)
{
	struct gitpkt_ref ref;
	struct buf request;
	struct gitpkt pkt;
	int r;

	begin(&request, w, "ls-refs");
	gitpkt_put(&request, "peel\n");
	gitpkt_put(&request, "symrefs\n");
	for (unsigned i = 0; i < count; i++)
		gitpkt_put(&request, "ref-prefix %s\n", prefixes[i]);
	r = send(w, &request);
	for (unsigned i = 0; r == 0 && i < REFS_MAX; i++) {
		r = gitchan_next(w->chan, &pkt, &w->wait, w->e);
		if (r < 0)
			return r;
		if (pkt.type == GITPKT_FLUSH)
			return gitchan_end_answer(w->chan, &w->wait, w->e);
		if (gitpkt_ref_line(&pkt, &ref) < 0)
			return malformed(w);
		r = fn(arg, &ref);
	}
	return r < 0 ? r : malformed(w);
}

static void put_oids(struct buf *request, const char *word, const struct oid *oids, size_t count)
{
	char hex[OID_HEX_MAX];

	for (size_t i = 0; i < count; i++) {
		(void)oid_hex(&oids[i], hex);
		gitpkt_put(request, "%s %s\n", word, hex);
	}
}

static int send_wish(const struct gitwire *w, const struct gitwire_wish *wish)
{
	struct buf request;

	begin(&request, w, "fetch");
	if (wish->have_count)
		gitpkt_put(&request, "thin-pack\n");
	gitpkt_put(&request, "ofs-delta\n");
	gitpkt_put(&request, "no-progress\n");
	if (wish->filter)
		gitpkt_put(&request, "filter %s\n", wish->filter);
	if (wish->shallow) {
		put_oids(&request, "shallow", wish->have, wish->have_count);
		gitpkt_put(&request, "deepen 1\n");
	}
	put_oids(&request, "want", wish->want, wish->want_count);
	put_oids(&request, "have", wish->have, wish->have_count);
	gitpkt_put(&request, "done\n");
	return send(w, &request);
}

/* Packets of the pack up to the flush. */
static int read_pack(const struct gitwire *w, gitwire_pack_fn fn, void *arg)
{
	char said[512];
	struct gitpkt pkt;
	size_t len;
	int r;

	for (;;) {
		r = gitchan_next(w->chan, &pkt, &w->wait, w->e);
		if (r < 0 || pkt.type == GITPKT_FLUSH)
			return r;
		if (pkt.type != GITPKT_DATA || pkt.len == 0)
			return malformed(w);
		switch (pkt.data[0]) {
		case BAND_PACK:
			r = fn(arg, pkt.data + 1, pkt.len - 1);
			if (r < 0)
				return r;
			break;
		case BAND_PROGRESS:
			break;
		case BAND_ERROR:
			len = pkt.len - 1 < sizeof(said) - 1 ? pkt.len - 1 : sizeof(said) - 1;
			memcpy(said, pkt.data + 1, len);
			said[len] = '\0';
			return gitfault_of(said, w->e);
		default:
			return malformed(w);
		}
	}
}

int gitwire_fetch(
	const struct gitwire *w, const struct gitwire_wish *wish, gitwire_pack_fn fn, void *arg)
{
	struct gitpkt pkt;
	int r = send_wish(w, wish);

	/* Sections before the pack's (which commits are shallow) tell nothing new. */
	while (r == 0) {
		r = gitchan_next(w->chan, &pkt, &w->wait, w->e);
		if (r == 0 && pkt.type == GITPKT_FLUSH)
			return malformed(w); /* no pack */
		if (r == 0 && pkt.type == GITPKT_DATA && pkt.len >= 8 &&
			memcmp(pkt.data, "packfile", 8) == 0)
			break;
	}
	if (r == 0)
		r = read_pack(w, fn, arg);
	return r == 0 ? gitchan_end_answer(w->chan, &w->wait, w->e) : r;
}

int gitwire_sizes(const struct gitwire *w, const struct oid *oids, size_t count, gitwire_size_fn fn,
	void *arg)
{
	struct buf request;
	struct gitpkt pkt;
	uint64_t size;
	struct oid oid;
	int r;

	begin(&request, w, "object-info");
	gitpkt_put(&request, "size\n");
	put_oids(&request, "oid", oids, count);
	r = send(w, &request);
	/* a line with the names of what follows, then one for each */
	for (size_t i = 0; r == 0 && i <= count + 1; i++) {
		r = gitchan_next(w->chan, &pkt, &w->wait, w->e);
		if (r < 0)
			return r;
		if (pkt.type == GITPKT_FLUSH)
			return gitchan_end_answer(w->chan, &w->wait, w->e);
		if (i > 0 && gitpkt_size_line(&pkt, &oid, &size) == 0)
			fn(arg, &oid, size);
	}
	return r < 0 ? r : malformed(w);
}
