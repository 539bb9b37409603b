//! Division of the work into tasks.
//!
//! Parts are roughly in the order in which operations ended. For the order in which they began, the time of a capture is divided into time ranges of
//! about the same number of rows each. Some consecutive time ranges are read together, from all row groups with rows of any of them: a row group at
//! an end of them is read twice, all others once. Before that the column of times is read twice: once to find the boundaries, once to find the row
//! groups of each time range.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, PrimitiveArray, RecordBatch};
use iostrata_capture::TableId;
use iostrata_capture::panic_guard::reading;
use iostrata_capture::part::OpenPart;

use super::{Read, Task, TimeRanges, Work};
use crate::aggregate::Settings;
use crate::aggregate::sequence::Span;
use crate::memory::Budget;
use crate::parallel::each;
use crate::scan::{BEGIN, Reach};
use crate::valid::end_ns;

/// Approximate maximum size of a piece, so that threads end at about the same time.
const MOST_PIECE_BYTES: u64 = 8 << 20;

/// Minimum size of a piece, so that the cost of opening a part once per thread does not matter.
const LEAST_PIECE_BYTES: u64 = 512 << 10;

/// Approximate number of pieces per thread, unless there is more to read.
const PIECES_OF_A_THREAD: u64 = 4;

/// Maximum sampling factor of the times that determine the boundaries of time ranges.
const SAMPLED: u64 = 1_024;

/// Column with the duration of an operation.
const DURATION: &str = "dur_ns";

/// Maximum number of time ranges that are read together, if all of their rows fit into memory. With fewer, more row groups are read twice.
const TOGETHER: usize = 16;

/// Number of time ranges that are always read together when results are stored. With fewer there would be many small partial results. With more there
/// would be less to share among machines, and more to read again when a capture grows.
const KEPT_TOGETHER: usize = 8;

/// Returns all tasks, in order.
pub fn tasks(
    work: &[Work],
    settings: &Settings,
    (threads, memory): (NonZeroUsize, Budget),
    are_kept: bool,
) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    let all_bytes = work.iter().fold(0u64, |sum, work| sum.saturating_add(bytes(work)));
    let piece_bytes = all_bytes / (PIECES_OF_A_THREAD * threads.get() as u64);
    let piece_bytes = piece_bytes.clamp(LEAST_PIECE_BYTES, MOST_PIECE_BYTES);
    // If rows are in no order, all are read before the first time range is complete.
    let rows = memory.stretch_rows(threads, settings.stretch_rows.saturating_mul(TOGETHER as u64));
    let most = usize::try_from(rows / settings.stretch_rows.max(1)).unwrap_or(TOGETHER).clamp(1, TOGETHER);
    let is_stretched = |work: &Work| work.table.reach(settings) != Reach::Never;
    let mut first = 0;
    for capture in work.chunk_by(|one, other| one.scan.capture == other.scan.capture) {
        if capture.iter().any(is_stretched) {
            let stretched = Stretched { work: capture, first, settings };
            let together = |stretches: usize| match are_kept {
                true => KEPT_TOGETHER,
                false => (stretches / (PIECES_OF_A_THREAD as usize * threads.get())).clamp(1, most),
            };
            tasks.extend(stretched.stretches(threads, together)?.into_iter().map(Task::TimeRanges));
        }
        // The rows of all other parts are only counted.
        let others = capture.iter().enumerate().filter(|(_, work)| settings.counts && !is_stretched(work));
        tasks.extend(others.flat_map(|(number, work)| pieces(first + number, work, piece_bytes)));
        first += capture.len();
    }
    Ok(tasks)
}

/// Returns the size of a part. The error of a missing part is reported when it is opened.
fn bytes(work: &Work) -> u64 {
    work.part.place().bytes().unwrap_or(0)
}

/// Divides a part into pieces of about `piece_bytes` bytes.
fn pieces(part: usize, work: &Work, piece_bytes: u64) -> impl Iterator<Item = Task> {
    let pieces = usize::try_from(bytes(work).div_ceil(piece_bytes)).unwrap_or(usize::MAX).clamp(1, 1 << 16);
    (0..pieces).map(move |piece| Task::Piece { part, piece, pieces })
}

/// Tables of a capture that are processed together in time order.
struct Stretched<'a> {
    work: &'a [Work<'a>],
    /// Index of its first part in all work.
    first: usize,
    settings: &'a Settings,
}

impl Stretched<'_> {
    fn stretches(&self, threads: NonZeroUsize, together: impl Fn(usize) -> usize) -> Result<Vec<TimeRanges>> {
        let rows = self.rows(threads)?;
        let sum = rows.iter().flatten().fold(0u64, |sum, rows| sum.saturating_add(*rows));
        let spans = if sum <= self.most() { vec![(i64::MIN, i64::MAX)] } else { self.spans(threads)? };
        let found = match spans.len() {
            1 => rows
                .iter()
                .enumerate()
                .flat_map(|(part, rows)| (0..rows.len()).map(move |group| (0, part, group)))
                .collect(),
            _ => self.found(&spans, threads)?,
        };
        let together = together(spans.len());
        let mut all: Vec<TimeRanges> = spans
            .chunks(together)
            .enumerate()
            .map(|(number, spans)| TimeRanges { first: number * together, spans: spans.to_vec(), reads: Vec::new() })
            .collect();
        // Each row group with the first of the time ranges that it has rows of.
        let mut firsts: Vec<BTreeMap<(usize, usize), usize>> = all.iter().map(|_| BTreeMap::new()).collect();
        for (stretch, part, group) in found {
            firsts[stretch / together].entry((part, group)).or_insert(stretch % together);
        }
        for (stretches, firsts) in all.iter_mut().zip(firsts) {
            let mut order: Vec<_> = firsts.into_iter().map(|((part, group), stretch)| (stretch, part, group)).collect();
            order.sort_unstable();
            for (stretch, part, group) in order {
                let part = self.first + part;
                // Only adjacent row groups, so that a source has its place in the order of all sources.
                let follows = |read: &&mut Read| {
                    (read.stretch, read.part) == (stretch, part)
                        && read.groups.last().is_some_and(|last| last + 1 == group)
                };
                match stretches.reads.last_mut().filter(follows) {
                    Some(read) => read.groups.push(group),
                    None => stretches.reads.push(Read { stretch, part, groups: vec![group] }),
                }
            }
        }
        Ok(all)
    }

    /// Returns the approximate number of rows of a time range.
    fn most(&self) -> u64 {
        self.settings.stretch_rows.max(1)
    }

    /// Opens each of its parts and applies `take` to it.
    fn each<T: Send + Default>(
        &self,
        columns: fn(Reach) -> &'static [&'static str],
        threads: NonZeroUsize,
        take: impl Fn(&mut T, usize, &mut OpenPart) -> iostrata_capture::Result<()> + Sync,
    ) -> Result<Vec<T>> {
        let take = |state: &mut T, number: usize| {
            let Work { table, part, .. } = &self.work[number];
            let reach = table.reach(self.settings);
            if reach == Reach::Never {
                return Ok(());
            }
            Ok(reading(part.path(), || take(state, number, &mut table.open(part, columns(reach))?))?)
        };
        each(self.work.len(), threads, T::default, take, |state| state)
    }

    /// Returns the number of rows, by part and row group.
    fn rows(&self, threads: NonZeroUsize) -> Result<Vec<Vec<u64>>> {
        let states = self.each(
            |_| &[BEGIN],
            threads,
            |state: &mut Vec<(usize, Vec<u64>)>, number, open| {
                state.push((number, (0..open.groups()).map(|group| open.rows(group)).collect()));
                Ok(())
            },
        )?;
        let mut rows = vec![Vec::new(); self.work.len()];
        states.into_iter().flatten().for_each(|(number, of_part)| rows[number] = of_part);
        Ok(rows)
    }

    /// Divides the time of the rows, with boundaries from each table separately. A boundary depends only on the parts up to it: a table that grows
    /// keeps its boundaries and gets new ones after them. All boundaries together are on average as far apart as those of one table with all rows,
    /// because a table with fewer rows has fewer boundaries.
    fn spans(&self, threads: NonZeroUsize) -> Result<Vec<Span>> {
        let stretched = self.work.iter().filter(|work| work.table.reach(self.settings) != Reach::Never);
        let mut tables: Vec<TableId> = stretched.map(|work| work.table.id).collect();
        tables.dedup();
        let most = self.most();
        // Enough samples that no time range is much longer than another.
        let one_in = usize::try_from((most / 16).clamp(1, SAMPLED)).unwrap_or(1);
        let states = self.each(
            |_| &[BEGIN],
            threads,
            |state: &mut Vec<(usize, Vec<i64>)>, number, open| {
                let (mut passed, mut sampled) = (0, Vec::new());
                open.read(&(0..open.groups()).collect::<Vec<_>>())?.each(|batch| {
                    let begins = times(batch, BEGIN)?;
                    let skipped = (one_in - passed % one_in) % one_in;
                    sampled.extend(begins.values().iter().skip(skipped).step_by(one_in));
                    passed += begins.len();
                    Ok(())
                })?;
                sampled.sort_unstable();
                state.push((number, sampled));
                Ok(())
            },
        )?;
        let mut parts = states.concat();
        parts.sort_unstable_by_key(|(number, _)| *number);
        let mut begins = Vec::new();
        for table in tables {
            let of_table = parts.iter().filter(|(number, _)| self.work[*number].table.id == table);
            let sampled = of_table.flat_map(|(_, sampled)| sampled);
            let rows_to_cut = usize::try_from(most.div_ceil(one_in as u64)).unwrap_or(usize::MAX);
            begins.extend(sampled.skip(rows_to_cut).step_by(rows_to_cut));
        }
        begins.sort_unstable();
        begins.dedup();
        begins.retain(|begin| *begin > i64::MIN);
        let lasts = begins.iter().map(|begin| begin - 1).chain([i64::MAX]);
        let firsts = [i64::MIN].into_iter().chain(begins.iter().copied());
        Ok(firsts.zip(lasts).collect())
    }

    /// Returns the row groups with rows of each time range, as numbers of time range, part and row group, in order.
    fn found(&self, spans: &[Span], threads: NonZeroUsize) -> Result<Vec<(usize, usize, usize)>> {
        let columns = |reach| -> &[&str] { if reach == Reach::Begin { &[BEGIN] } else { &[BEGIN, DURATION] } };
        let states = self.each(columns, threads, |state: &mut Vec<(usize, usize, usize)>, part, open| {
            let reach = self.work[part].table.reach(self.settings);
            for group in 0..open.groups() {
                let mut has = vec![false; spans.len()];
                open.read(&[group])?.each(|batch| mark(batch, (spans, reach), &mut has))?;
                let stretches = has.iter().enumerate().filter(|(_, has)| **has);
                state.extend(stretches.map(|(stretch, _)| (stretch, part, group)));
            }
            Ok(())
        })?;
        let mut found = states.concat();
        found.sort_unstable();
        Ok(found)
    }
}

/// Marks the time ranges that a batch has rows of.
fn mark(batch: &RecordBatch, (spans, reach): (&[Span], Reach), has: &mut [bool]) -> std::result::Result<(), String> {
    let begins = times(batch, BEGIN)?;
    let durations = (reach != Reach::Begin).then(|| times(batch, DURATION)).transpose()?;
    let mut last = 0;
    let mut stretch = |ns: i64| {
        if !(spans[last].0..=spans[last].1).contains(&ns) {
            last = spans.partition_point(|(_, last_ns)| *last_ns < ns);
        }
        last
    };
    for (row, begin) in begins.values().iter().enumerate() {
        let first = stretch(*begin);
        has[first] = true;
        let duration = durations.filter(|durations| durations.is_valid(row)).map(|durations| durations.value(row));
        let Some(last) = end_ns(*begin, duration).map(&mut stretch) else { continue };
        has[last] = true;
        if reach == Reach::Through {
            has[first..=last].fill(true);
        }
    }
    Ok(())
}

fn times<'a>(batch: &'a RecordBatch, name: &str) -> std::result::Result<&'a PrimitiveArray<Int64Type>, String> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.ok_or_else(|| format!("column {name}: expected 64-bit integers"))
}
