use super::*;
use crate::column::Comm;
use crate::op::{Evidence, IoClass, Op};
use crate::table::TableBuilder;

fn row(ts_ns: i64, insert_ns: Option<i64>, comm: &[u8], op: Op) -> BlockRow {
    let mut name = Comm::default();
    name.0[..comm.len()].copy_from_slice(comm);
    BlockRow {
        ts_ns,
        dur_ns: Some(10),
        queue_ns: Some(1),
        insert_ns,
        pid: Some(7),
        tid: Some(8),
        comm: name,
        cgroup_id: None,
        start_ns: Some(1),
        evidence: Evidence::Direct,
        owned_bytes: 4096,
        shared_bytes: 0,
        submitter_pid: None,
        submitter_comm: Comm::default(),
        class: IoClass::Data,
        file_dev: None,
        ino: None,
        dev: 7 << 20,
        level: Some(0),
        sector: Some(16),
        bytes: 4096,
        op,
        flags: 0,
        error: 0,
        bios: 1,
        requeues: 0,
        weight: 1,
    }
}

#[test]
fn rows_read_back_as_they_were_pushed() {
    let mut builder = BlockBuilder::default();
    builder.push(row(5, None, b"dd", Op::Write));
    builder.push(row(6, Some(3), b"", Op::Read));
    builder.push(row(7, None, b"dd", Op::Write));
    assert_eq!(builder.rows(), 3);
    let batch = builder.finish().expect("columns of equal length");
    assert_eq!(builder.rows(), 0);

    use crate::column::Reader;
    let view = BlockView::new(&batch).expect("the declared schema");
    assert_eq!(view.rows, 3);
    assert_eq!(view.ts_ns.at(2), 7);
    assert_eq!(view.insert_ns.at(0), None);
    assert_eq!(view.insert_ns.at(1), Some(3));
    assert_eq!(view.comm.at(0), Some("dd"));
    assert_eq!(view.comm.at(1), None);
    assert_eq!(view.op.at(1), Op::Read);
    assert_eq!(view.cgroup_id.at(1), None);
}

#[test]
fn a_batch_of_another_table_is_named_as_wrong() {
    let batch = ProcessBuilder::default().finish().expect("columns of equal length");
    let error = BlockView::new(&batch).err().expect("a process batch is no block batch");
    assert_eq!(error, "column dur_ns is missing");
}

#[test]
fn column_names_carry_their_unit_and_are_documented() {
    for table in TableId::ALL {
        for column in (table.declared().columns)() {
            assert!(column.doc.ends_with('.'), "{table}.{}: {:?}", column.name, column.doc);
        }
    }
}

#[test]
fn each_table_is_declared_in_its_place() {
    assert!(TableId::ALL.iter().all(|table| table.declared().id == *table));
}
