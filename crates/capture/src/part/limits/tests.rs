use std::fs;
use std::path::{Path, PathBuf};

use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::RowGroupMetaDataBuilder;
use parquet::file::properties::{WriterProperties, WriterVersion};

use super::*;
use crate::column::{Comm, Reader};
use crate::dir::Dir;
use crate::part::{PartFile, PartReader, PartWriter, Place};
use crate::table::TableBuilder;
use crate::tables::{ProcessBuilder, ProcessRow, ProcessTable, ProcessView};

/// Creates a part of one process with executable `exe`.
fn part(directory: &Path, exe: String) -> PathBuf {
    fs::create_dir(directory.join("process")).expect("a fresh directory");
    let mut builder = ProcessBuilder::default();
    builder.push(ProcessRow {
        ts_ns: 1,
        pid: 2,
        ppid: 1,
        start_ns: 1,
        comm: Comm::of("etcd"),
        kernel_thread: false,
        cgroup_id: 1,
        exe: Some(exe),
        cmdline: None,
        cgroup: None,
    });
    let mut part = PartWriter::create::<ProcessTable>(&Dir::open(directory).expect("there"), 1, None)
        .expect("a writable directory");
    part.write(&builder.finish().expect("equal columns")).expect("room");
    part.finish().expect("room").name.path(directory)
}

/// Returns the error text for a part of one row with changed metadata.
fn said(change: impl Fn(RowGroupMetaData) -> Vec<RowGroupMetaData>) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = File::open(part(directory.path(), "/usr/bin/etcd".into())).expect("a part");
    let bytes = file.metadata().expect("a file").len();
    let mut builder = metadata(&file).expect("whole").into_builder();
    let groups = builder.take_row_groups().into_iter().flat_map(change).collect();
    // `ts_ns`, `pid` and `comm`.
    let columns = [(0, Values::Numbers(8)), (1, Values::Numbers(4)), (4, Values::Words)];
    let columns = columns.map(|(place, values)| Column { place, values });
    let metadata = builder.set_row_groups(groups).build();
    let look = |mut looked: Looked| (0..metadata.num_row_groups()).try_for_each(|at| looked.look(&file, &metadata, at));
    let looked = Looked::new(bytes, &metadata, columns.into()).and_then(look);
    looked.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
}

/// Returns the row group with its first column changed by `change`.
fn with_column(
    group: RowGroupMetaData,
    change: impl Fn(ColumnChunkMetaData) -> ColumnChunkMetaData,
) -> RowGroupMetaData {
    let mut columns = group.columns().to_vec();
    columns[0] = change(columns[0].clone());
    group.into_builder().set_column_metadata(columns).build().expect("a row group")
}

#[test]
fn what_metadata_claims_must_be_in_the_file() {
    let built = |builder: RowGroupMetaDataBuilder| vec![builder.build().expect("a row group")];
    assert_eq!(said(|group| vec![group]), "fine");
    let claimed = said(|group| built(group.into_builder().set_num_rows(1 << 40)));
    assert!(claimed.contains("claims 1099511627776 rows in "), "{claimed}");
    let more = said(|group| built(group.into_builder().set_num_rows(2)));
    assert!(more.ends_with("column ts_ns: 1 values, expected 2"), "{more}");
    let outside = said(|group| {
        let column = |column: ColumnChunkMetaData| column.into_builder().set_data_page_offset(1 << 40).build();
        vec![with_column(group, |of| column(of).expect("a column"))]
    });
    assert!(outside.ends_with("column ts_ns lies outside the file"), "{outside}");
    let overlapping = said(|group| vec![group; 100]);
    assert!(overlapping.ends_with("they overlap"), "{overlapping}");
    let elsewhere = said(|group| {
        let column = |column: ColumnChunkMetaData| column.into_builder().set_data_page_offset(0).build();
        vec![with_column(group, |of| column(of).expect("a column"))]
    });
    assert!(elsewhere.contains("column ts_ns: the header of a page "), "{elsewhere}");
}

#[test]
fn a_page_or_a_text_that_is_too_large_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = part(directory.path(), "x".repeat(33 << 20));
    assert!(fs::metadata(&path).expect("there").len() < 60_000);
    let error = PartReader::open::<ProcessTable>(&PartFile::Whole(Place::named(&path).expect("there")))
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("column exe: a page of 34603"), "{error}");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = part(directory.path(), "x".repeat((16 << 10) + 1));
    let mut batches =
        PartReader::open::<ProcessTable>(&PartFile::Whole(Place::named(&path).expect("there"))).expect("a small page");
    let batch = batches.next().expect("a row").expect("readable");
    let error = ProcessView::new(&batch).err().expect("refused");
    assert_eq!(error, "column exe has a text of 16385 bytes, expected at most 16384");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = part(directory.path(), "x".repeat(8_000_000));
    let error = PartReader::open::<ProcessTable>(&PartFile::Whole(Place::named(&path).expect("there")))
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains(" bytes that decompress to 80") && error.ends_with(", expected at most 256 per byte"),
        "{error}"
    );
}

/// Creates a part of `rows` processes with executable `exe`, as another program writes it.
fn anew(directory: &Path, rows: i32, exe: &str, properties: WriterProperties) -> PathBuf {
    let mut builder = ProcessBuilder::default();
    for pid in 0..rows {
        builder.push(ProcessRow {
            ts_ns: pid.into(),
            pid,
            ppid: 1,
            start_ns: 1,
            comm: Comm::of("etcd"),
            kernel_thread: false,
            cgroup_id: 1,
            exe: Some(exe.to_owned()),
            cmdline: None,
            cgroup: None,
        });
    }
    let (path, batch) = (directory.join("anew.parquet"), builder.finish().expect("equal columns"));
    let mut writer = ArrowWriter::try_new(File::create(&path).expect("room"), batch.schema(), Some(properties))
        .expect("a schema that Parquet has");
    writer.write(&batch).expect("room");
    writer.close().expect("room");
    path
}

#[test]
fn other_codecs_and_pages_of_the_second_form_are_read() {
    for compression in [Compression::SNAPPY, Compression::UNCOMPRESSED] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let properties = WriterProperties::builder().set_compression(compression).set_writer_version(version);
            // The crate's default encodings of texts and numbers for the second version are others.
            let properties = properties.set_dictionary_enabled(true).build();
            let path = anew(directory.path(), 3_000, "/usr/bin/etcd", properties);
            let (mut rows, mut sum) = (0, 0);
            let part = PartFile::Whole(Place::named(&path).expect("there"));
            part.read::<ProcessTable>(|batch| {
                let view = ProcessView::new(batch)?;
                rows += (0..view.rows).filter(|row| view.exe.at(*row) == Some("/usr/bin/etcd")).count();
                sum += (0..view.rows).map(|row| view.pid.at(row)).sum::<i32>();
                Ok(())
            })
            .expect("readable");
            assert_eq!((rows, sum), (3_000, 2_999 * 1_500), "{compression:?} {version:?}");
        }
    }
}

#[test]
fn a_text_of_a_dictionary_counts_in_each_row() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = anew(directory.path(), 4_000, &"x".repeat(16_000), WriterProperties::builder().build());
    assert!(fs::metadata(&path).expect("there").len() < 100_000);
    let refused = |path: &Path| {
        let part = PartFile::Whole(Place::named(path).expect("there"));
        PartReader::open::<ProcessTable>(&part).err().expect("refused").to_string()
    };
    let error = refused(&path);
    assert!(
        error.contains(" bytes that decompress to 64") && error.ends_with(", expected at most 256 per byte"),
        "{error}"
    );
    let longer = refused(&anew(directory.path(), 1, &"x".repeat(16_385), WriterProperties::builder().build()));
    assert!(longer.ends_with("column exe: a dictionary value of 16385 bytes, expected at most 16384"), "{longer}");
}

#[test]
fn a_footer_that_cannot_be_there_is_not_looked_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("part");
    for (bytes, expected) in [
        (&b"PAR1"[..], "has 4 bytes, expected at least 12"),
        (b"PAR1\0\0\0\0PARE", "does not end with PAR1: truncated or another format"),
        (b"PAR1\xff\xff\xff\xffPAR1", "a footer of 4294967295 bytes, expected at most 0"),
        (b"PAR1\0\0\0\0PAR1", "its footer is truncated"),
    ] {
        fs::write(&path, bytes).expect("room");
        let error = metadata(&File::open(&path).expect("there")).expect_err("refused").to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}
