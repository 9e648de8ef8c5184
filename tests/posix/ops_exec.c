/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs: one that was written just now is run; one that runs is written, moved, removed. There
 * is no shell where a side is shut in, so the program is made of bytes here: it waits until
 * somebody writes to its standard input or closes it, and ends with 42.
 */
#include "side.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOAD_AT 0x400000u

struct program {
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	uint8_t code[32];
};

static struct program make_program(void)
{
	/* read(0, rsp - 16, 1); exit(42) */
	static const uint8_t code[] = {0x31, 0xc0, 0x31, 0xff, 0x48, 0x8d, 0x74, 0x24, 0xf0, 0xba,
		1, 0, 0, 0, 0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0xbf, 42, 0, 0, 0, 0x0f, 0x05};
	struct program p = {
		.header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				   EV_CURRENT},
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = LOAD_AT + offsetof(struct program, code),
			.e_phoff = offsetof(struct program, segment),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1},
		.segment = {.p_type = PT_LOAD,
			.p_flags = PF_R | PF_X,
			.p_vaddr = LOAD_AT,
			.p_paddr = LOAD_AT,
			.p_filesz = sizeof(p),
			.p_memsz = sizeof(p),
			.p_align = 4096},
	};

	_Static_assert(sizeof(code) <= sizeof(p.code), "the code fits");
	memcpy(p.code, code, sizeof(code));
	return p;
}

static long write_program(const char *path)
{
	struct program p = make_program();
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0755);
	long r;

	if (fd < 0)
		return -errno;
	r = result_of(write(fd, &p, sizeof(p)));
	(void)close(fd);
	return r < 0 ? r : 0;
}

/* Runs what is at the path; on return it runs, and waits for *ret_input, or has ended with errno.
 */
static pid_t start(const char *path, int *ret_input)
{
	char *const none[] = {NULL};
	int input[2], running[2];
	char byte;
	pid_t pid;

	if (pipe2(input, O_CLOEXEC) < 0 || pipe2(running, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		if (dup2(input[0], STDIN_FILENO) < 0)
			_exit(254);
		(void)execve(path, none, none);
		_exit(errno);
	}
	(void)close(input[0]);
	(void)close(running[1]);
	(void)read(running[0], &byte, 1); /* ends with exec, which closes the child's end */
	(void)close(running[0]);
	*ret_input = input[1];
	return pid;
}

static long finish(pid_t pid, int input)
{
	int status;

	(void)close(input);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -ECHILD;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Whatever is there, as it is. */
static long op_run(struct side *side, const struct step *step)
{
	int input = -1;
	pid_t pid = start(step->a, &input);

	(void)side;
	return finish(pid, input);
}

static long op_write_and_run(struct side *side, const struct step *step)
{
	int input = -1;
	pid_t pid;

	(void)fprintf(side->out, " written %ld", write_program(step->a));
	side->no_change = step->n[0] % 4 == 0;
	if (side->no_change)
		(void)fprintf(side->out, " chmod %ld", result_of(chmod(step->a, 0755)));
	pid = start(step->a, &input);
	return finish(pid, input);
}

/* Run while it is open for writing; then opened for writing, moved and perhaps removed while it
 * runs. */
static long op_run_busy(struct side *side, const struct step *step)
{
	long r = write_program(step->a);
	int input = -1, fd = r < 0 ? -1 : open(step->a, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	pid_t pid;

	if (fd < 0)
		return r < 0 ? r : -errno;
	pid = start(step->a, &input);
	(void)fprintf(side->out, " open %ld", finish(pid, input));
	(void)close(fd);
	pid = start(step->a, &input);
	fd = open(step->a, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	(void)fprintf(side->out, " runs %ld", result_of(fd < 0 ? -1 : 0));
	if (fd >= 0)
		(void)close(fd);
	(void)fprintf(side->out, " moved %ld", result_of(rename(step->a, step->b)));
	if (step->n[0] & 1)
		(void)fprintf(side->out, " removed %ld", result_of(unlink(step->b)));
	return finish(pid, input);
}

static const struct op ops[] = {
	{"run", 5, USES_A, op_run},
	{"write_and_run", 8, USES_A, op_write_and_run},
	{"run_busy", 4, USES_A | USES_B, op_run_busy},
};
const struct op_table exec_ops = {ops, sizeof(ops) / sizeof(ops[0])};
