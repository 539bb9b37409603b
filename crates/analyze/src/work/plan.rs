//! Cuts work into tasks.
//!
//! Parts are in the order in which operations ended, roughly. To look at the order in which they began, the time of a capture is cut into stretches
//! of about as many rows each. Some stretches that follow each other are read together, from all row groups that have something of any of them: a row group
//! at an end of them is read twice, all others once. For that the column of times is read twice before: once for where to cut, once for what has what.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use anyhow::Result;
use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::Int64Type;
use iostrata_capture::TableId;
use iostrata_capture::guard::reading;
use iostrata_capture::part::OpenPart;

use super::{Read, Stretches, Task, Work};
use crate::aggregate::Settings;
use crate::aggregate::sequence::Span;
use crate::memory::Budget;
use crate::parallel::each;
use crate::scan::{BEGIN, Reach};
use crate::valid::end_ns;

/// Pieces have at most about this size, so that threads end at about the same time.
const MOST_PIECE_BYTES: u64 = 8 << 20;

/// And at least this, so that opening a part once for each thread does not matter.
const LEAST_PIECE_BYTES: u64 = 512 << 10;

/// About so many of them there are for each thread, if there is not more than that to be read.
const PIECES_OF_A_THREAD: u64 = 4;

/// Of so many rows at most the time of one is looked at to find out where to cut.
const SAMPLED: u64 = 1_024;

/// The column that says how long an operation was under way.
const DURATION: &str = "dur_ns";

/// So many stretches are read together at most, if there is room for all of their rows: with fewer, more row groups are read twice.
const TOGETHER: usize = 16;

/// And so many, always, where what comes of them is kept: with fewer there would be many small partials, with more there would be less to be shared among
/// machines, and more to be read again of a capture that grows.
const KEPT_TOGETHER: usize = 8;

/// All of it, in order.
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
    // Of rows in no order nothing is passed on before all were read.
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
            tasks.extend(stretched.stretches(threads, together)?.into_iter().map(Task::Stretches));
        }
        // Of all others there is nothing to be found but what is counted.
        let others = capture.iter().enumerate().filter(|(_, work)| settings.counts && !is_stretched(work));
        tasks.extend(others.flat_map(|(number, work)| pieces(first + number, work, piece_bytes)));
        first += capture.len();
    }
    Ok(tasks)
}

/// How large a part is. Whoever opens it says what is wrong with one that is gone.
fn bytes(work: &Work) -> u64 {
    work.part.place().bytes().unwrap_or(0)
}

/// A part in pieces of about so many bytes.
fn pieces(part: usize, work: &Work, piece_bytes: u64) -> impl Iterator<Item = Task> {
    let pieces = usize::try_from(bytes(work).div_ceil(piece_bytes)).unwrap_or(usize::MAX).clamp(1, 1 << 16);
    (0..pieces).map(move |piece| Task::Piece { part, piece, pieces })
}

/// The tables of a capture that are looked at in the order of time, together.
struct Stretched<'a> {
    work: &'a [Work<'a>],
    /// The place of its first part in all work.
    first: usize,
    settings: &'a Settings,
}

impl Stretched<'_> {
    fn stretches(&self, threads: NonZeroUsize, together: impl Fn(usize) -> usize) -> Result<Vec<Stretches>> {
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
        let mut all: Vec<Stretches> = spans
            .chunks(together)
            .enumerate()
            .map(|(number, spans)| Stretches { first: number * together, spans: spans.to_vec(), reads: Vec::new() })
            .collect();
        // Each row group in the first of the stretches of which it has something.
        let mut firsts: Vec<BTreeMap<(usize, usize), usize>> = all.iter().map(|_| BTreeMap::new()).collect();
        for (stretch, part, group) in found {
            firsts[stretch / together].entry((part, group)).or_insert(stretch % together);
        }
        for (stretches, firsts) in all.iter_mut().zip(firsts) {
            let mut order: Vec<_> = firsts.into_iter().map(|((part, group), stretch)| (stretch, part, group)).collect();
            order.sort_unstable();
            for (stretch, part, group) in order {
                let part = self.first + part;
                // Only those that follow each other, so that what is read at once has its place among all others.
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

    /// About how many rows a stretch has.
    fn most(&self) -> u64 {
        self.settings.stretch_rows.max(1)
    }

    /// Opens its parts, and does something to each.
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

    /// By part and row group: how many rows it has.
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

    /// Cuts the time of its rows, that of each table by itself. Where that is, follows from the parts up to there alone: a table that grows is cut where
    /// it was before, and then anew. All cuts together are as far from each other as those of a table of all rows on average, since what has fewer rows is cut more seldom.
    fn spans(&self, threads: NonZeroUsize) -> Result<Vec<Span>> {
        let stretched = self.work.iter().filter(|work| work.table.reach(self.settings) != Reach::Never);
        let mut tables: Vec<TableId> = stretched.map(|work| work.table.id).collect();
        tables.dedup();
        let most = self.most();
        // Enough that no stretch is much longer than another.
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

    /// Which row groups have something of which stretch: its number, that of the part, and that of the row group, in order.
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

/// Marks the stretches of which a batch has something.
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
    column.ok_or_else(|| format!("column {name} is not of whole numbers"))
}
