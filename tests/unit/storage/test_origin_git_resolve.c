/* SPDX-License-Identifier: Apache-2.0 */
/* Names of revisions, held against what git rev-parse says of the same repository. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "git_world.h"

static void revision_world(struct git_world *w)
{
	static const struct git_file one = {"a", 0100644, "one", 0}, two = {"a", 0100644, "two", 0};
	char commit[GIT_FIXTURE_HEX];

	git_world_init(w, &one, 1);
	git_fixture_commit(&w->git, "refs/heads/main", &two, 1, commit);
	git_shell(w,
		"git branch old main~1; git branch feature/x main; git tag light main~1; git tag "
		"-m m heavy main;"
		" git tag -m m heavier heavy; git tag both main~1; git branch both main;"
		" git tag blob main:a; git tag tree main^{tree}; git tag -m m heavyblob main:a;"
		" git update-ref refs/remotes/origin/r main~1; git update-ref refs/weird/w main;"
		" git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/r;"
		" git symbolic-ref refs/heads/alias refs/heads/old; git branch deadbeef old; git "
		"branch abc old");
}

static void expect_ref(struct git_world *w, const char *name, const char *ref)
{
	struct origin_revision rev;
	struct err e = {0};
	char peeled[128];
	struct oid want, root;

	if (origin_resolve(w->o, name, NS_NEVER, &rev, &e) < 0)
		fail_msg("%s: %s", name, err_message(&e));
	(void)snprintf(peeled, sizeof(peeled), "%s^{commit}", *name ? name : "HEAD");
	want = git_says(w, peeled);
	(void)snprintf(peeled, sizeof(peeled), "%s^{tree}", *name ? name : "HEAD");
	root = git_says(w, peeled);
	assert_true(oid_equal(&want, &rev.commit));
	assert_true(oid_equal(&root, &rev.root));
	assert_string_equal(rev.ref, ref);
	assert_true(rev.time_s > 0);
}

static void expect_error(struct git_world *w, const char *name, int error, const char *reason)
{
	struct origin_revision rev = {.time_s = 77};
	struct err e = {0};

	if (origin_resolve(w->o, name, NS_NEVER, &rev, &e) != error)
		fail_msg("\"%s\": %d %s", name, e.code, err_message(&e));
	assert_string_equal(err_reason(&e), reason);
	assert_int_equal(rev.time_s, 77); /* untouched */
}

static void expect_all_names(struct git_world *w)
{
	expect_ref(w, "", "refs/heads/main");
	expect_ref(w, "HEAD", "refs/heads/main");
	expect_ref(w, "main", "refs/heads/main");
	expect_ref(w, "heads/main", "refs/heads/main");
	expect_ref(w, "refs/heads/main", "refs/heads/main");
	expect_ref(w, "feature/x", "refs/heads/feature/x");
	expect_ref(w, "light", "refs/tags/light");
	expect_ref(w, "heavy", "refs/tags/heavy");
	expect_ref(w, "heavier", "refs/tags/heavier");
	expect_ref(w, "both", "refs/tags/both"); /* tags come first */
	expect_ref(w, "heads/both", "refs/heads/both");
	expect_ref(w, "origin/r", "refs/remotes/origin/r");
	expect_ref(w, "origin", "refs/remotes/origin/r");
	expect_ref(w, "refs/weird/w", "refs/weird/w");
	expect_ref(w, "weird/w", "refs/weird/w");
	expect_ref(w, "alias", "refs/heads/old");
	expect_ref(w, "deadbeef", "refs/heads/deadbeef"); /* a ref before a short id */
	expect_ref(w, "abc", "refs/heads/abc");
}

static void test_names(void **state)
{
	struct git_world w;

	(void)state;
	revision_world(&w);
	expect_all_names(&w);
	git_shell(&w, "git pack-refs --all");
	expect_all_names(&w);
	git_world_fini(&w);
}

static void test_ids_and_expressions(void **state)
{
	struct git_world w;
	struct oid commit, tag;
	char hex[OID_HEX_MAX];

	(void)state;
	revision_world(&w);
	commit = git_says(&w, "main");
	tag = git_says(&w, "heavy");
	(void)oid_hex(&commit, hex);
	expect_ref(&w, hex, "");
	for (unsigned i = 0; hex[i]; i++)
		if (hex[i] >= 'a')
			hex[i] = (char)(hex[i] - 32);
	expect_ref(&w, hex, ""); /* upper case */
	hex[7] = '\0';
	expect_ref(&w, hex, "");
	expect_ref(&w, oid_hex(&tag, hex), ""); /* the id of a tag object */
	expect_ref(&w, "main~1", "");
	expect_ref(&w, "HEAD^", "");
	expect_ref(&w, "heavy^{commit}", "");
	expect_ref(&w, "main^0", "");
	git_world_fini(&w);
}

static void test_what_names_no_commit(void **state)
{
	static const char *const missing[] = {"nonsense", "main~7", "refs/heads/none",
		"ffffffffffff", "fff", "0123456789012345678901234567890123456789", "refs",
		"feature"};
	static const char *const invalid[] = {"main:a", "HEAD:", ":/one", "main..old", "main...old",
		"^main", "main^{/one}", "a\nb", "\177"};
	static const char *const others[] = {
		"blob", "tree", "heavyblob", "main^{tree}", "refs/tags/tree"};
	struct git_world w;
	struct oid tree;
	char hex[OID_HEX_MAX], longest[3000];

	(void)state;
	revision_world(&w);
	for (unsigned i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		expect_error(&w, missing[i], -ENOENT, "REVISION_NOT_FOUND");
	for (unsigned i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		expect_error(&w, invalid[i], -EINVAL, "REVISION_INVALID");
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		expect_error(&w, others[i], -EINVAL, "REVISION_NOT_A_COMMIT");
	tree = git_says(&w, "main^{tree}");
	expect_error(&w, oid_hex(&tree, hex), -EINVAL, "REVISION_NOT_A_COMMIT");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	expect_error(&w, longest, -EINVAL, "INVALID_FIELD");
	git_world_fini(&w);
}

static void test_empty_repository(void **state)
{
	struct git_world w;

	(void)state;
	git_world_init(&w, NULL, 0);
	expect_error(&w, "", -ENOENT, "REPOSITORY_EMPTY");
	expect_error(&w, "HEAD", -ENOENT, "REPOSITORY_EMPTY");
	expect_error(&w, "main", -ENOENT, "REVISION_NOT_FOUND");
	git_world_fini(&w);
}

static void test_short_ids_of_several_objects(void **state)
{
	static const struct git_file file = {"a", 0100644, "x", 0};
	struct git_world w;
	char prefix[8] = "", commit[GIT_FIXTURE_HEX];
	FILE *f;

	(void)state;
	git_world_init(&w, &file, 1);
	/* Blobs until one begins like the commit, by four digits: git does not count it, and
	 * neither do we. */
	git_shell(&w, "c=$(git rev-parse main | cut -c1-4); python3 - $c ../near ../twin <<'X'\n"
		      "import hashlib,sys\n"
		      "def find(kind, make):\n"
		      "  i=0\n"
		      "  while True:\n"
		      "    d=make(i); h=hashlib.sha1(b'%%s %%d\\0' %% (kind, "
		      "len(d))+d).hexdigest(); i+=1\n"
		      "    if h.startswith(sys.argv[1]): return d\n"
		      "open(sys.argv[2],'wb').write(find(b'blob', lambda i: b'%%d' %% i))\n"
		      "open(sys.argv[3],'wb').write(find(b'commit', lambda i: b'tree "
		      "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
		      "\\nauthor a <a> 1 +0000\\ncommitter c <c> 1 +0000\\n\\n%%d\\n' %% i))\n"
		      "X\ngit hash-object -w ../near; printf %%s $c > ../prefix");
	f = fopen(tmpdir_path(&w.git.tmp, "prefix", commit, sizeof(commit)), "r");
	assert_non_null(f);
	assert_int_equal(fread(prefix, 1, 4, f), 4);
	(void)fclose(f);
	expect_ref(&w, prefix, "");
	git_shell(&w, "git mktree < /dev/null; git hash-object -t commit -w ../twin");
	expect_error(&w, prefix, -EINVAL, "REVISION_AMBIGUOUS");
	git_world_fini(&w);
}

static void test_a_branch_of_a_lost_commit_is_an_error(void **state)
{
	struct git_world w;

	(void)state;
	revision_world(&w);
	git_shell(&w, "echo 0123456789012345678901234567890123456789 > refs/heads/lost");
	expect_error(&w, "lost", -EIO, "IO_ERROR");
	git_world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_ids_and_expressions),
		cmocka_unit_test(test_what_names_no_commit),
		cmocka_unit_test(test_empty_repository),
		cmocka_unit_test(test_short_ids_of_several_objects),
		cmocka_unit_test(test_a_branch_of_a_lost_commit_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
