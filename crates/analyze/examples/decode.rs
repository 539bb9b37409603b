//! How fast the parquet crate alone decodes what `iostrata-analyze summary` needs: nothing is done with the values.
//!
//! ```text
//! decode CAPTURE THREADS
//! ```
#![allow(clippy::disallowed_macros, reason = "for developers")]

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use iostrata_analyze::aggregate::{Precision, Settings};
use iostrata_analyze::scan::EVENT_TABLES;
use iostrata_capture::{Capture, Dir};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn decode(path: &PathBuf, columns: &[&str]) -> Result<usize, Failure> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let mut rows = 0;
    for batch in builder.with_projection(mask).with_batch_size(8_192).build()? {
        rows += batch?.num_rows();
    }
    Ok(rows)
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(capture), Some(threads)) = (arguments.next(), arguments.next()) else {
        return Err("expected CAPTURE THREADS".into());
    };
    let mut work = Vec::new();
    let capture = Capture::open(&Dir::open(capture.as_ref())?)?;
    let settings = Settings::new(Precision::DEFAULT);
    for table in &EVENT_TABLES {
        work.extend(table.parts(&capture)?.iter().map(|part| (part.path().to_owned(), table.columns(&settings))));
    }
    let (next, rows) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run = || -> Result<(), Failure> {
        while let Some((path, columns)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            rows.fetch_add(decode(path, columns)?, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.parse::<usize>()?).map(|_| scope.spawn(run)).collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })?;
    println!("{} rows", rows.into_inner());
    Ok(())
}
