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

/* Returns the position of the highest bit; 0 for 0 and 1. */
static __always_inline __u8 log2_of(__u64 value)
{
	__u8 log = 0;

	for (__u8 step = 32; step; step /= 2) {
		if (value >> step) {
			value >>= step;
			log += step;
		}
	}
	return log;
}

/* Returns the address itself, to compare with an address that was always a scalar. More expensive than number_of(). */
static __always_inline __u64 address_of(const void *pointer)
{
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &pointer);
	return address;
}

/* Checksum for data that two CPUs may have written at once: it matches only if the data is from one of them. */
static __always_inline __u64 checksum(const __u64 *words, __u32 bytes)
{
	__u64 sum = 0;

	/* Rotates each word by a different amount, so that two exchanged words are detected. */
	for (__u32 i = 0; i < bytes / sizeof(__u64); i++)
		sum ^= words[i] << i | words[i] >> (63 - i) >> 1;
	return sum;
}

#endif
