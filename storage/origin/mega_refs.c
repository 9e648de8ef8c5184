/* SPDX-License-Identifier: Apache-2.0 */
/* See mega_refs.h. "# service=...", a flush, then "<oid> <name>[\\0<capabilities>]" each. */
#include "origin/mega_refs.h"

#include "origin/git_pkt.h"

#include <errno.h>
#include <string.h>

/* -EIO; 1: a line that is no ref. */
static int take_ref(const struct gitpkt *pkt, struct origin_ref *ret)
{
	const char *line = (const char *)pkt->data;
	const char *end = line + pkt->len, *nul = memchr(line, '\0', pkt->len);
	const char *blank;
	char hex[OID_HEX_MAX];
	size_t name_len;

	if (nul)
		end = nul;
	while (end > line && end[-1] == '\n')
		end--;
	blank = memchr(line, ' ', (size_t)(end - line));
	if (!blank || (size_t)(blank - line) >= sizeof(hex))
		return -EIO;
	memcpy(hex, line, (size_t)(blank - line));
	hex[blank - line] = '\0';
	name_len = (size_t)(end - blank - 1);
	if (oid_parse(hex, &ret->oid) < 0)
		return -EIO;
	if (name_len >= sizeof(ret->name))
		return 1; /* not one of ours */
	memcpy(ret->name, blank + 1, name_len);
	ret->name[name_len] = '\0';
	return strcmp(ret->name, "capabilities^{}") == 0 ? 1 : 0; /* no refs at all */
}

int mega_refs_each(const char *data, size_t len, origin_ref_fn fn, void *arg)
{
	static const char service[] = "# service=git-";
	bool greeted = false;
	struct gitpkt pkt;

	while (len) {
		ssize_t n = gitpkt_take(data, len, &pkt);
		struct origin_ref ref;
		int r;

		if (n <= 0)
			return -EIO;
		data += n;
		len -= (size_t)n;
		if (!greeted) {
			if (pkt.type != GITPKT_DATA || pkt.len < sizeof(service) - 1 ||
				memcmp(pkt.data, service, sizeof(service) - 1) != 0)
				return -EIO;
			greeted = true;
			continue;
		}
		if (pkt.type != GITPKT_DATA)
			continue;
		r = take_ref(&pkt, &ref);
		if (r == 0)
			r = fn(arg, &ref);
		if (r < 0)
			return r;
	}
	return greeted ? 0 : -EIO;
}
