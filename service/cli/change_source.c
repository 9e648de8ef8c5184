// SPDX-License-Identifier: Apache-2.0
/* See change_source.h. Files are sent as they are; the service says what is wrong with them. */
#include "change_source.h"

#include <base/buf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA_MAX (4u << 20) /* a request is not larger */

static int fill_buffer(int fd, struct buf *b)
{
	char piece[65536];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (buf_append(b, piece, (size_t)n) < 0)
			return buf_error(b) == -ENOMEM ? -ENOMEM : -EFBIG;
	}
	return 0;
}

static int read_words(const char *path, struct change_source *s, ProtobufCBinaryData *ret_data)
{
	bool input = strcmp(path, "-") == 0;
	int fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	struct buf b;
	int r;

	if (fd < 0) {
		(void)fprintf(stderr, "coppice: %s: %s\n", path, strerror(errno));
		return CLI_FAILED;
	}
	buf_init(&b, DATA_MAX);
	r = fill_buffer(fd, &b);
	if (!input)
		(void)close(fd); /* only read */
	ret_data->len = b.len;
	s->data = r == 0 && b.len ? buf_take(&b) : NULL;
	ret_data->data = (uint8_t *)s->data;
	buf_fini(&b);
	if (r < 0)
		(void)fprintf(stderr, "coppice: %s: %s\n", path,
			r == -EFBIG ? "is larger than a request may be (4 MiB)" : strerror(-r));
	return r < 0 ? CLI_FAILED : CLI_OK;
}

static int fill_tar(struct change_source *s, const struct change_words *words)
{
	s->message.source_case = COPPICE__V1__CHANGE_LIST__SOURCE_TAR;
	s->message.tar = &s->archive;
	coppice__v1__file_archive__init(&s->archive);
	s->deleted = calloc(words->deleted_count + 1, sizeof(*s->deleted));
	if (!s->deleted)
		return CLI_FAILED;
	for (size_t i = 0; i < words->deleted_count; i++) {
		s->deleted[i].data = (uint8_t *)words->deleted[i];
		s->deleted[i].len = strlen(words->deleted[i]);
	}
	s->archive.deleted = s->deleted;
	s->archive.n_deleted = words->deleted_count;
	return words->tar ? read_words(words->tar, s, &s->archive.tar) : CLI_OK;
}

static int fill(struct change_source *s, const struct change_words *words)
{
	Coppice__V1__ChangeList *m = &s->message;

	if (words->link) {
		m->source_case = COPPICE__V1__CHANGE_LIST__SOURCE_LINK;
		m->link = (char *)words->link;
		m->path = (char *)(words->link_path ? words->link_path : "");
	} else if (words->commits && strstr(words->commits, "..")) {
		m->source_case = COPPICE__V1__CHANGE_LIST__SOURCE_RANGE;
		m->range = (char *)words->commits;
	} else if (words->commits) {
		m->source_case = COPPICE__V1__CHANGE_LIST__SOURCE_REF;
		m->ref = (char *)words->commits;
	} else if (words->patch) {
		m->source_case = COPPICE__V1__CHANGE_LIST__SOURCE_PATCH;
		return read_words(words->patch, s, &m->patch);
	} else {
		return fill_tar(s, words);
	}
	return CLI_OK;
}

int change_source_init(struct change_source *s, const struct cli_command *command,
	const struct change_words *words, Coppice__V1__ChangeList **ret_list)
{
	bool tar = words->tar || words->deleted_count;
	int count = (words->commits != NULL) + (words->link != NULL) + (words->patch != NULL) + tar;
	int r;

	*s = (struct change_source){.data = NULL};
	coppice__v1__change_list__init(&s->message);
	*ret_list = NULL;
	if (count > 1)
		return cli_usage(command, "a change list has one source: --change-list, --cl, "
					  "--patch or --tar");
	if (words->link_path && !words->link)
		return cli_usage(command, "--cl-path goes with --cl");
	if (count == 0)
		return CLI_OK;
	r = fill(s, words);
	if (r == CLI_OK)
		*ret_list = &s->message;
	return r;
}

void change_source_fini(struct change_source *s)
{
	free(s->deleted);
	free(s->data);
	*s = (struct change_source){.data = NULL};
}
