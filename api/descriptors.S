/* SPDX-License-Identifier: Apache-2.0 */
/* The FileDescriptorSet of our protos (protoc --descriptor_set_out), byte for byte, for reflection.c. */
	.section .rodata
	.balign 16
	.global api_descriptors_start
	.global api_descriptors_end
api_descriptors_start:
	.incbin COPPICE_DESCRIPTORS
api_descriptors_end:
	.byte 0
	.section .note.GNU-stack,"",%progbits
