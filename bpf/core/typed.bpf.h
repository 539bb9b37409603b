/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads through typed pointers. Without maps: for any object. */
#ifndef IOSTRATA_TYPED_H
#define IOSTRATA_TYPED_H

/* Since 6.2: gives a pointer that was read from memory its BTF type, so that direct loads are possible. */
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;

/*
 * Casts a program argument or the current task before another pointer is loaded through it. For each such load through
 * a trusted pointer, the verifier (since 6.3) searches the names of all kernel types several times. These searches took
 * three quarters of the time to load the programs. A cast pointer is untrusted, and the verifier searches nothing.
 */
#define HOP(pointer)                                                                                                   \
	(bpf_ksym_exists(bpf_rdonly_cast) ?                                                                            \
		 (typeof(pointer))bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(typeof(*(pointer)))) :              \
		 (pointer))

#endif
