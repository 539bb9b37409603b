//! File table of a capture: paths of files, and the generations of inode numbers over time. A row takes about thirty bytes in memory; a path takes
//! a few more if there are enough paths to be compressed.

use anyhow::Result;
use arrow_array::RecordBatch;
use iostrata_capture::Capture;
use iostrata_capture::column::Reader;
use iostrata_capture::op::PathOrigin;
use iostrata_capture::tables::{FileTable, FileView};

use crate::entity::{FileId, device_number};
use crate::memory::Budget;
use crate::texts::Records;

/// Generation of an inode number from `from_ns` on.
#[derive(Debug, Clone, Copy)]
struct Row {
    from_ns: i64,
    ino: i64,
    generation: i64,
    dev: i32,
    /// Number of the best path to show, with its rank in the upper bits; [`NO_PATH`] if none is known.
    path: u32,
}

/// Position of the rank in [`Row::path`].
const RANK_SHIFT: u32 = 30;

/// Value that no rank and number have.
const NO_PATH: u32 = u32::MAX;

/// Files of a capture. Memory grows with the number of files, not of rows.
#[derive(Default)]
pub struct Files {
    /// Rows by device, inode number and time.
    rows: Vec<Row>,
    /// Row numbers by device, inode and generation; empty if that is the order of `rows`.
    by_generation: Vec<u32>,
    /// Inode numbers that several files have at the same time, in order.
    several: Vec<(i32, i64)>,
    /// Paths as shown.
    paths: Records<1>,
}

impl Files {
    /// Reads the file table of `capture`, within `memory`.
    ///
    /// # Errors
    /// If the table cannot be read, or exceeds the memory limit.
    pub fn load(capture: &Capture, memory: Budget) -> Result<Files> {
        let mut files = Files::default();
        for part in capture.parts::<FileTable>()? {
            part.read_unless::<FileTable>(|| memory.refusal(), |batch| files.add_batch(batch))?;
        }
        files.settle();
        Ok(files)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Sorts the rows of each inode number. If a file comes back after another one, both have the number at the same time (subvolumes of btrfs),
    /// and the rows cannot be attributed to either.
    fn settle(&mut self) {
        let Files { rows, by_generation, several, .. } = self;
        let of_file = |row: &Row| (row.dev, row.ino, row.generation);
        rows.sort_unstable_by_key(of_file);
        for file in rows.chunk_by_mut(|one, other| of_file(one) == of_file(other)) {
            let rank = |path: u32| path >> RANK_SHIFT;
            let named = file.iter().filter(|row| row.path != NO_PATH);
            let best = named.max_by_key(|row| (rank(row.path), row.from_ns, row.path)).map_or(NO_PATH, |row| row.path);
            file.iter_mut().for_each(|row| row.path = best);
        }
        rows.sort_unstable_by_key(|row| (row.dev, row.ino, row.from_ns, row.generation));
        // Other names of the same file.
        rows.dedup_by_key(|row| of_file(row));
        let mut generations = Vec::new();
        for number in rows.chunk_by(|one, other| (one.dev, one.ino) == (other.dev, other.ino)) {
            generations.clear();
            generations.extend(number.iter().map(|row| row.generation));
            generations.sort_unstable();
            generations.dedup();
            several.extend((generations.len() < number.len()).then_some((number[0].dev, number[0].ino)));
        }
        if !rows.is_sorted_by_key(of_file) {
            by_generation.extend(0..u32::try_from(rows.len()).unwrap_or(u32::MAX));
            by_generation.sort_unstable_by_key(|number| of_file(&rows[*number as usize]));
        }
    }

    fn add_batch(&mut self, batch: &RecordBatch) -> std::result::Result<(), String> {
        let view = FileView::new(batch)?;
        (0..view.rows).for_each(|row| self.add(&view, row));
        Ok(())
    }

    fn add(&mut self, view: &FileView, row: usize) {
        let (from_ns, dev, ino, generation) =
            (view.ts_ns.at(row), view.dev.at(row), view.ino.at(row), view.generation.at(row));
        let path = view.path.at(row).zip(view.path_origin.at(row));
        let path = path.map_or(NO_PATH, |(path, origin)| {
            let number = self.paths.add([&shown(path, origin, dev)]);
            // More paths exceed any memory.
            rank(origin) << RANK_SHIFT | number.min((1 << RANK_SHIFT) - 1)
        });
        self.rows.push(Row { from_ns, ino, generation, dev, path });
    }

    /// Returns the rows of an inode number, none if several files have it at the same time, and the position after the last row that begins at or
    /// before `ts_ns`.
    fn spans(&self, (dev, ino): (i32, i64), ts_ns: i64) -> (&[Row], usize) {
        let after = self.rows.partition_point(|row| (row.dev, row.ino, row.from_ns) <= (dev, ino, ts_ns));
        let is_of = |row: &Row| (row.dev, row.ino) == (dev, ino);
        let is_met =
            self.rows.get(after).is_some_and(is_of) || after.checked_sub(1).is_some_and(|at| is_of(&self.rows[at]));
        if !is_met || self.several.binary_search(&(dev, ino)).is_ok() {
            return (&[], 0);
        }
        let begin = self.rows[..after].partition_point(|row| (row.dev, row.ino) < (dev, ino));
        let end = after + self.rows[after..].partition_point(|row| (row.dev, row.ino) <= (dev, ino));
        (&self.rows[begin..end], after - begin)
    }

    /// Returns the file that had an inode number at `ts_ns`, from its last row at or before that time, or from its first row if all are later. Also
    /// returns the first and the last moment of that period.
    pub fn find(&self, dev: i32, ino: i64, ts_ns: i64) -> (FileId, (i64, i64)) {
        let (spans, after) = self.spans((dev, ino), ts_ns);
        let span = spans.get(after.saturating_sub(1));
        let from_ns = span.filter(|_| after >= 2).map_or(i64::MIN, |span| span.from_ns);
        let last_ns = spans.get(after.max(1)).map_or(i64::MAX, |next| next.from_ns.saturating_sub(1));
        (FileId { dev, ino, generation: span.map(|span| span.generation) }, (from_ns, last_ns))
    }

    /// Returns the generations of an inode number between two moments, each with its start.
    pub fn all(&self, number: (i32, i64), (first_ns, last_ns): (i64, i64)) -> impl Iterator<Item = (i64, i64)> {
        let (spans, after) = self.spans(number, first_ns);
        let found = after.saturating_sub(1);
        let (found, later) = spans.split_at((found + 1).min(spans.len()));
        let later = later.iter().take_while(move |span| span.from_ns <= last_ns);
        let later = later.map(|span| (span.from_ns, span.generation));
        found.last().map(|span| (i64::MIN, span.generation)).into_iter().chain(later)
    }

    /// Returns the path of a file: the latest of those with the highest rank.
    pub fn name(&self, file: FileId) -> Option<String> {
        let file = (file.dev, file.ino, file.generation?);
        let of_file = |row: &Row| (row.dev, row.ino, row.generation);
        let at = if self.by_generation.is_empty() {
            self.rows.binary_search_by_key(&file, of_file).ok()?
        } else {
            let of_number = |number: &u32| of_file(&self.rows[*number as usize]);
            self.by_generation[self.by_generation.binary_search_by_key(&file, of_number).ok()?] as usize
        };
        let path = Some(self.rows[at].path).filter(|path| *path != NO_PATH)?;
        let [path] = self.paths.get(path & ((1 << RANK_SHIFT) - 1));
        Some(path)
    }
}

fn rank(origin: PathOrigin) -> u32 {
    match origin {
        PathOrigin::Namespace => 2,
        PathOrigin::Filesystem => 1,
        PathOrigin::Cut => 0,
    }
}

/// Returns the path as shown. Only a path from the root of a mount namespace begins with `/`.
fn shown(path: &str, origin: PathOrigin, dev: i32) -> String {
    match origin {
        PathOrigin::Namespace => path.to_owned(),
        PathOrigin::Filesystem => format!("[{}]{path}", device_number(dev)),
        PathOrigin::Cut => format!("…/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iostrata_capture::table::{Table, TableBuilder};
    use iostrata_capture::tables::FileRow;

    const DEV: i32 = 7 << 20 | 1;

    fn row(ts_ns: i64, generation: i64, path: Option<(&str, PathOrigin)>) -> FileRow {
        FileRow {
            ts_ns,
            dev: DEV,
            ino: 12,
            generation,
            path: path.map(|(path, _)| path.to_owned()),
            path_origin: path.map(|(_, origin)| origin),
            mount_namespace: None,
            deleted: false,
            fd_kind: None,
            fs: Default::default(),
            pid: 1,
        }
    }

    fn files(rows: Vec<FileRow>) -> Files {
        let mut builder = <FileTable as Table>::Builder::default();
        rows.into_iter().for_each(|row| builder.push(row));
        let batch = builder.finish().expect("a batch");
        let view = FileView::new(&batch).expect("its columns");
        let mut files = Files::default();
        (0..view.rows).for_each(|row| files.add(&view, row));
        files.settle();
        files
    }

    #[test]
    fn a_number_that_is_used_again_is_another_file() {
        let at_root = |path| Some((path, PathOrigin::Namespace));
        let files =
            files(vec![row(20, 5, at_root("/new")), row(10, 4, at_root("/old")), row(15, 4, at_root("/moved"))]);
        let at = |ts_ns| files.find(DEV, 12, ts_ns).0;
        assert_eq!([0, 10, 19, 20, 99].map(|ts_ns| at(ts_ns).generation), [4, 4, 4, 5, 5].map(Some));
        assert_eq!([10, 20].map(|ts_ns| files.name(at(ts_ns))), ["/moved", "/new"].map(|path| Some(path.to_owned())));
        assert_eq!(
            [0, 10, 19, 20, 99].map(|ts_ns| files.find(DEV, 12, ts_ns).1),
            [(i64::MIN, 19), (i64::MIN, 19), (i64::MIN, 19), (20, i64::MAX), (20, i64::MAX),]
        );
        let nowhere = FileId { dev: 7, ino: 12, generation: None };
        assert_eq!(files.find(7, 12, 20), (nowhere, (i64::MIN, i64::MAX)));
        assert_eq!(files.name(nowhere), None);
    }

    fn name_in(files: &Files) -> Option<String> {
        files.name(files.find(DEV, 12, 0).0)
    }

    #[test]
    fn of_two_files_that_have_one_number_at_once_neither_is_known() {
        let at_root = |path| Some((path, PathOrigin::Namespace));
        let files = files(vec![row(10, 4, at_root("/a")), row(20, 5, at_root("/b")), row(30, 4, at_root("/a"))]);
        assert_eq!([10, 20, 30].map(|ts_ns| files.find(DEV, 12, ts_ns).0.generation), [None; 3]);
    }

    #[test]
    fn the_path_that_says_most_is_shown_and_no_other_looks_like_it() {
        let name = |rows: &[(&str, PathOrigin)]| {
            let rows = rows.iter().enumerate().map(|(at, path)| row(at as i64, 1, Some(*path))).collect();
            name_in(&files(rows))
        };
        let (cut, by_pages) = (("b/c", PathOrigin::Cut), ("/b/c", PathOrigin::Filesystem));
        assert_eq!(name(&[cut]).as_deref(), Some("…/b/c"));
        assert_eq!(name(&[by_pages, cut]).as_deref(), Some("[7:1]/b/c"));
        assert_eq!(name(&[("/a/b/c", PathOrigin::Namespace), by_pages]).as_deref(), Some("/a/b/c"));
        assert_eq!(name_in(&files(vec![row(0, 1, None)])), None);
    }
}
