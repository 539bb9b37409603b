/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sampling (`--cpu-limit`): the programs measure their own run time. If they and user space exceed the limit, only
 * operations that begin in some time slices are recorded. Time slices, not single events, are sampled, so that recorded
 * events keep their neighbours: sequences, queue depths and merges stay intact. Each period has one recorded time
 * slice. Its position is drawn again for each period, so that no periodic workload is in step with it. Its share of the
 * period is a power of two, so every event has the same probability, one in N, and a recorded event has weight N.
 */
#ifndef IOSTRATA_SAMPLING_H
#define IOSTRATA_SAMPLING_H

/* About a quarter of a second: at one in 256 a time slice is 1 ms. */
enum { PERIOD_SHIFT = 28 };

/* Key: 0; value: sampling factors. Written by user space, one word at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sampling);
} sampling SEC(".maps");

static __always_inline struct sampling *sampling_now(void)
{
	__u32 zero = 0;

	return config.samples ? bpf_map_lookup_elem(&sampling, &zero) : 0;
}

/* Mixes a number: every bit of the result depends on every bit of `number` (the finalizer of splitmix64). */
static __always_inline __u64 mix(__u64 number)
{
	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9ULL;
	number = (number ^ number >> 27) * 0x94d049bb133111ebULL;
	return number ^ number >> 31;
}

/* Returns whether operations that begin at `at_ns` are recorded. */
static __always_inline bool in_sample(__u64 at_ns)
{
	struct sampling *now = sampling_now();
	__u64 period = at_ns >> PERIOD_SHIFT, within = at_ns & ((1ULL << PERIOD_SHIFT) - 1);
	__u64 shift;

	if (!now)
		return true;
	shift = (at_ns < now->change_ns ? now->shift_before : now->shift_after) & 15;
	return !shift || within >> (PERIOD_SHIFT - shift) == mix(period + config.sampling_seed) >> (64 - shift);
}

static __always_inline bool samples_this_moment(void)
{
	return !config.samples || in_sample(bpf_ktime_get_ns());
}

/* Returns whether the sampling factor changes after `from_ns` and not later than `until_ns`. */
static __always_inline bool changed_between(__u64 from_ns, __u64 until_ns)
{
	struct sampling *now = sampling_now();

	return now && from_ns < now->change_ns && now->change_ns <= until_ns;
}

/* Key: 0; value: sum of the run times of the timed runs. Written at the end of each timed run. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} timed_ns SEC(".maps");

/* Upper bound of the CPU time of a run: a run that seems to take longer was interrupted. */
enum { LONGEST_RUN_NS = 65536 };

/* Returns the start of a timed run; 0: this run is not timed. */
static __always_inline __u64 run_begins(void)
{
	return config.samples && !(bpf_get_prandom_u32() % TIMED_ONE_IN) ? bpf_ktime_get_ns() : 0;
}

static __always_inline void run_ends(__u64 began_ns)
{
	__u64 taken_ns, *sum;
	__u32 zero = 0;

	if (!config.samples || !began_ns)
		return;
	taken_ns = bpf_ktime_get_ns() - began_ns;
	sum = bpf_map_lookup_elem(&timed_ns, &zero);
	if (sum)
		*sum += taken_ns < LONGEST_RUN_NS ? taken_ns : LONGEST_RUN_NS;
}

/* BPF_PROG() of libbpf, timed. */
#define TIMED_PROG(name, args...)                                                                                      \
	name(unsigned long long *ctx);                                                                                 \
	static __always_inline int timed_##name(unsigned long long *ctx, ##args);                                      \
	int name(unsigned long long *ctx)                                                                              \
	{                                                                                                              \
		__u64 began_ns = run_begins();                                                                         \
		int result;                                                                                            \
                                                                                                                       \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                  \
		result = timed_##name(___bpf_ctx_cast(args));                                                          \
		_Pragma("GCC diagnostic pop") run_ends(began_ns);                                                      \
		return result;                                                                                         \
	}                                                                                                              \
	static __always_inline int timed_##name(unsigned long long *ctx, ##args)

#endif
