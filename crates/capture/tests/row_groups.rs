//! Memory of an open part: nothing for the row groups in its file.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use iostrata_capture::column::Comm;
use iostrata_capture::dir::Dir;
use iostrata_capture::op::Op;
use iostrata_capture::part::{MOST_GROUPS, PartWriter};
use iostrata_capture::table::{RecordBatch, Table, TableBuilder};
use iostrata_capture::tables::{SyscallBuilder, SyscallRow, SyscallTable};

/// Allocated bytes, now and at their peak.
static NOW: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

struct Counting;

// SAFETY: each call is forwarded unchanged; the counters affect nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = layout.size() as i64;
        PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
        // SAFETY: the caller meets the requirements of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The only test of its program, so that nothing else allocates.
#[test]
fn a_part_takes_no_memory_for_its_row_groups_neither_open_nor_when_it_is_closed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(directory.path().join(SyscallTable::NAME)).expect("room");
    let capture = Dir::open(directory.path()).expect("there");
    let batch = |ts_ns| -> RecordBatch {
        let mut builder = SyscallBuilder::default();
        builder.push(SyscallRow {
            ts_ns,
            dur_ns: 9,
            pid: 4,
            tid: 4,
            comm: Comm(*b"etcd\0\0\0\0\0\0\0\0\0\0\0\0"),
            cgroup_id: 1,
            op: Op::Fsync,
            fd_kind: None,
            dev: None,
            ino: Some(12),
            offset_bytes: None,
            requested_bytes: None,
            runnable_ns: Some(7),
            ret: -5,
            flags: None,
            weight: 1,
        });
        builder.finish().expect("equal columns")
    };
    let mut part = PartWriter::create::<SyscallTable>(&capture, 1, Some("id")).expect("room");
    let add = |part: &mut PartWriter, number| {
        part.write(&batch(i64::from(number))).expect("room");
        part.end_group().expect("room");
    };
    // The first ones show the allocation pattern of each row group.
    (0..20).for_each(|number| add(&mut part, number));
    let (before, most_before) = (NOW.load(Relaxed), PEAK.load(Relaxed));
    let mut number = 20;
    while !part.is_full() {
        add(&mut part, number);
        number += 1;
    }
    let (open, most_open) = (NOW.load(Relaxed) - before, PEAK.load(Relaxed) - most_before);
    // Less than a hundred bytes for each: with the library's data it was twelve thousand.
    let little = 100 * MOST_GROUPS as i64;
    assert!(open.abs() < 4096 && most_open < little, "{open} more while it is open, {most_open} at most");
    let finished = part.finish().expect("room");
    let at_end = PEAK.load(Relaxed) - most_before;
    assert!(at_end < little, "{at_end} more when it was closed");
    assert_eq!(finished.rows, MOST_GROUPS);
}
