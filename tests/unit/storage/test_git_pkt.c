/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of Git's protocol, and the lines in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "origin/git_pkt.h"

#include <errno.h>
#include <string.h>

#define A "6909243b8fdc3c6c6d8bbe26409daf59c1d40760"
#define B "b2e25ba3587fc1720700fa0aa9fae1c132d93aa6"

static struct gitpkt line(const char *text)
{
	return (struct gitpkt){
		.type = GITPKT_DATA, .data = (const uint8_t *)text, .len = strlen(text)};
}

static void test_packets_are_taken_apart(void **state)
{
	struct gitpkt pkt;

	(void)state;
	assert_int_equal(gitpkt_take("0009hello0000", 13, &pkt), 9);
	assert_int_equal(pkt.type, GITPKT_DATA);
	assert_memory_equal(pkt.data, "hello", 5);
	assert_int_equal(pkt.len, 5);
	assert_int_equal(gitpkt_take("0000", 4, &pkt), 4);
	assert_int_equal(pkt.type, GITPKT_FLUSH);
	assert_int_equal(gitpkt_take("0001", 4, &pkt), 4);
	assert_int_equal(pkt.type, GITPKT_DELIM);
	assert_int_equal(gitpkt_take("0002", 4, &pkt), 4);
	assert_int_equal(pkt.type, GITPKT_END);
	assert_int_equal(gitpkt_take("0004", 4, &pkt), 4);
	assert_int_equal(pkt.len, 0);
	for (size_t len = 0; len < 9; len++)
		assert_int_equal(gitpkt_take("0009hello", len, &pkt), 0);
	assert_int_equal(gitpkt_take("0003", 4, &pkt), -EIO);
	assert_int_equal(gitpkt_take("fff1", 4, &pkt), -EIO); /* longer than any */
	assert_int_equal(gitpkt_take("HTTP", 4, &pkt), -EIO);
	assert_int_equal(gitpkt_take("-001", 4, &pkt), -EIO);
}

static void test_packets_are_put_together(void **state)
{
	struct buf out;
	char longer[1100];

	(void)state;
	buf_init(&out, 4096);
	gitpkt_put(&out, "want %s\n", A);
	gitpkt_put_delim(&out);
	gitpkt_put_flush(&out);
	assert_string_equal(buf_cstr(&out), "0032want " A "\n00010000");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	gitpkt_put(&out, "%s", longer);
	assert_int_equal(buf_error(&out), -EMSGSIZE);
	buf_fini(&out);
}

static void test_what_a_server_offers(void **state)
{
	static const char *const lines[] = {"version 2\n", "agent=git/2.39.5\n",
		"fetch=shallow wait-for-done filter\n", "object-format=sha1\n", "object-info\n"};
	struct gitpkt_offer offer = {0};
	struct gitpkt pkt = line("fetch=shallow filters\n");

	(void)state;
	gitpkt_offer_line(&offer, &pkt);
	assert_false(offer.filter || offer.version2);
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		pkt = line(lines[i]);
		gitpkt_offer_line(&offer, &pkt);
	}
	assert_true(offer.version2 && offer.filter && offer.object_info && offer.sha1);
	assert_false(offer.other_hash);
	pkt = line("object-format=sha256");
	gitpkt_offer_line(&offer, &pkt);
	assert_true(offer.other_hash);
}

static void test_lines_of_refs(void **state)
{
	static const char *const bad[] = {"", A, A " ", "x" A " refs/heads/main",
		A "refs/heads/main", A " refs/tags/v peeled:12", "unborn "};
	struct gitpkt pkt = line(A " HEAD symref-target:refs/heads/main\n");
	struct gitpkt_ref ref;
	char name[400];

	(void)state;
	assert_int_equal(gitpkt_ref_line(&pkt, &ref), 0);
	assert_string_equal(ref.name, "HEAD");
	assert_string_equal(ref.target, "refs/heads/main");
	assert_int_equal(ref.peeled.len, 0);
	pkt = line(A " refs/tags/v1 peeled:" B);
	assert_int_equal(gitpkt_ref_line(&pkt, &ref), 0);
	assert_int_equal(ref.peeled.len, 20);
	assert_int_equal(ref.peeled.bytes[0], 0xb2);
	pkt = line("unborn HEAD symref-target:refs/heads/main");
	assert_int_equal(gitpkt_ref_line(&pkt, &ref), 0);
	assert_true(ref.unborn);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		pkt = line(bad[i]);
		assert_int_equal(gitpkt_ref_line(&pkt, &ref), -EIO);
	}
	(void)snprintf(name, sizeof(name), A " refs/heads/%0300d", 1);
	pkt = line(name);
	assert_int_equal(gitpkt_ref_line(&pkt, &ref), 0);
	assert_string_equal(ref.name, ""); /* nobody can have asked for it */
}

static void test_lines_of_sizes(void **state)
{
	static const char *const bad[] = {
		"size", A, A " ", A " -1", A " 12x", A " 1234567890123456789", "zz" A " 1"};
	struct gitpkt pkt = line(A " 4505\n");
	uint64_t size;
	struct oid oid;

	(void)state;
	assert_int_equal(gitpkt_size_line(&pkt, &oid, &size), 0);
	assert_int_equal(size, 4505);
	assert_int_equal(oid.bytes[0], 0x69);
	pkt = line(A " 0");
	assert_int_equal(gitpkt_size_line(&pkt, &oid, &size), 0);
	assert_int_equal(size, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		pkt = line(bad[i]);
		assert_int_equal(gitpkt_size_line(&pkt, &oid, &size), -EIO);
	}
}

static void test_errors_of_servers(void **state)
{
	struct gitpkt pkt = line("ERR upload-pack:\x1b[1m not our ref\n");
	char said[64], little[10];

	(void)state;
	assert_true(gitpkt_error_line(&pkt, said, sizeof(said)));
	assert_string_equal(said, "upload-pack: [1m not our ref");
	assert_true(gitpkt_error_line(&pkt, little, sizeof(little)));
	assert_string_equal(little, "upload-pa");
	pkt = line("ERROR");
	assert_false(gitpkt_error_line(&pkt, said, sizeof(said)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets_are_taken_apart),
		cmocka_unit_test(test_packets_are_put_together),
		cmocka_unit_test(test_what_a_server_offers),
		cmocka_unit_test(test_lines_of_refs),
		cmocka_unit_test(test_lines_of_sizes),
		cmocka_unit_test(test_errors_of_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
