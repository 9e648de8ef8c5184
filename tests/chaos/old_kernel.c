/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOADed into coppiced: the kernel's INIT request is read without the bit that says it can
 * send requests again, as kernels before 6.9 send it. Everything else is the kernel's own.
 *
 * Threads: any.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define REQUEST_BYTES (1u << 20) /* no other read asks for so much */
#define OPCODE_INIT   26u
#define OPCODE_AT     4
#define FLAGS2_AT     56 /* header of 40 bytes, then four words */
#define HAS_RESEND    (1u << 7)

ssize_t read(int fd, void *buf, size_t size)
{
	static _Atomic(void *) next; /* the C library's, or another preloaded one's */
	uint32_t opcode, flags2;
	ssize_t n;

	if (!atomic_load(&next))
		atomic_store(&next, dlsym(RTLD_NEXT, "read"));
	n = ((ssize_t(*)(int, void *, size_t))atomic_load(&next))(fd, buf, size);
	if (size < REQUEST_BYTES || n < FLAGS2_AT + (ssize_t)sizeof(flags2))
		return n;
	memcpy(&opcode, (char *)buf + OPCODE_AT, sizeof(opcode));
	if (opcode != OPCODE_INIT)
		return n;
	memcpy(&flags2, (char *)buf + FLAGS2_AT, sizeof(flags2));
	flags2 &= ~HAS_RESEND;
	memcpy((char *)buf + FLAGS2_AT, &flags2, sizeof(flags2));
	return n;
}
