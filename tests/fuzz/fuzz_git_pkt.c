// SPDX-License-Identifier: Apache-2.0
/* What a Git server sends, as hostile bytes: packets, every kind of line that may be in them, and
 * the beginning of a pack. */
#include "origin/git_fault.h"
#include "origin/git_peek.h"
#include "origin/git_pkt.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void lines(const struct gitpkt *pkt)
{
	struct gitpkt_offer offer = {0};
	struct gitpkt_ref ref;
	char said[64];
	uint64_t length;
	struct oid oid;

	gitpkt_offer_line(&offer, pkt);
	if (gitpkt_ref_line(pkt, &ref) == 0) {
		must(ref.unborn ? ref.oid.len == 0 : ref.oid.len == 20);
		must(memchr(ref.name, 0, sizeof(ref.name)) &&
			memchr(ref.target, 0, sizeof(ref.target)));
	}
	if (gitpkt_size_line(pkt, &oid, &length) == 0)
		must(oid.len == 20 && length < UINT64_C(1000000000000000000));
	if (gitpkt_error_line(pkt, said, sizeof(said))) {
		struct err e = {0};

		must(strlen(said) < sizeof(said));
		must(gitfault_of(said, &e) < 0 && e.message[0]);
	}
}

/* However it is cut, the answer is the same. */
static void peek(const uint8_t *data, size_t size)
{
	struct gitpeek whole = {.have = 0}, cut = {.have = 0};
	int r = gitpeek_take(&whole, data, size), piece = 0;

	for (size_t i = 0; i < size && i < GITPEEK_MAX && piece == 0; i++)
		piece = gitpeek_take(&cut, data + i, 1);
	must((r < 0) == (piece < 0) && whole.known == cut.known && whole.size == cut.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gitpkt pkt;
	ssize_t n;

	peek(data, size);

	while ((n = gitpkt_take(data, size, &pkt)) > 0) {
		must((size_t)n <= size && pkt.len <= (size_t)n);
		if (pkt.type == GITPKT_DATA)
			lines(&pkt);
		data += n;
		size -= (size_t)n;
	}
	return 0;
}
