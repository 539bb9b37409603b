/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that an object that aggregates counts nowhere. Shared with user space. */
#ifndef IOSTRATA_REQUEST_LOSS_H
#define IOSTRATA_REQUEST_LOSS_H

struct request_loss {
	/* No room for a request in the driver, or for its sums. */
	__u64 table_full;
	/* Completed, and the kernel did not report the issue. */
	__u64 unseen_issue;
	/* Issued, and the kernel did not report the completion. */
	__u64 unseen_end;
};

#endif
