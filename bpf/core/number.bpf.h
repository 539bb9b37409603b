/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers for kernel pointers, and their hash. Without maps: for any object. */
#ifndef IOSTRATA_NUMBER_H
#define IOSTRATA_NUMBER_H

/*
 * Returns a number for a pointer, to compare and to hash: its distance from `base`, an object of these programs. The
 * verifier rejects arithmetic on a typed pointer, but it treats the difference of two pointers as a scalar.
 */
static __always_inline __u64 distance_of(const void *pointer, const volatile void *base)
{
	__u64 number = (__u64)pointer;

	asm volatile("%0 -= %1" : "+r"(number) : "r"(base));
	return number;
}

/* Fibonacci hashing: the upper bits of the product depend on every bit of the number. `buckets` is a power of two. */
static __always_inline __u32 hash_of(__u64 number, __u32 buckets)
{
	return number * 0x9e3779b97f4a7c15ULL >> 40 & (buckets - 1);
}

#endif
