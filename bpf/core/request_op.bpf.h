/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operation of a bio or request in the capture format. Without maps: for any object. */
#ifndef IOSTRATA_REQUEST_OP_H
#define IOSTRATA_REQUEST_OP_H

/* Returns the operation of a request. `op`: enum req_op. */
static __always_inline __u8 op_of(__u32 op, __u64 bytes)
{
	switch (op) {
	case REQ_OP_READ:
		return OP_READ;
	case REQ_OP_WRITE:
		/* An empty write is a flush from its submitter's view. */
		return bytes ? OP_WRITE : OP_FLUSH;
	case REQ_OP_FLUSH:
		return OP_DEVICE_FLUSH;
	case REQ_OP_DISCARD:
		return OP_DISCARD;
	case REQ_OP_SECURE_ERASE:
		return OP_SECURE_ERASE;
	case REQ_OP_WRITE_ZEROES:
		return OP_WRITE_ZEROES;
	case REQ_OP_DRV_IN:
		return OP_DRIVER_IN;
	case REQ_OP_DRV_OUT:
		return OP_DRIVER_OUT;
	}
	/* Only the zone operations were renumbered (5.10 to 6.0: 13; since 6.1: 7). */
	if (bpf_core_enum_value_exists(enum req_op, REQ_OP_ZONE_APPEND)) {
		if (op == bpf_core_enum_value(enum req_op, REQ_OP_ZONE_APPEND))
			return OP_ZONE_APPEND;
	} else if (op == REQ_OP_ZONE_APPEND_UNTIL_6_0) {
		return OP_ZONE_APPEND;
	}
	return OP_ZONE_MANAGEMENT;
}

#endif
