//! Units: tasks that one thread executes in sequence, with a result that can be stored in a file.

use anyhow::Result;
use iostrata_capture::TableId;
use iostrata_capture::panic_guard::reading;

use super::{Read, Task, TimeRanges, Work};
use crate::store::Made;

/// Consecutive tasks.
pub struct Unit {
    /// The tasks, at least one.
    pub tasks: Vec<Task>,
}

/// Returns one unit per task. If results `are_kept`, all pieces of a part are one unit.
pub fn units(tasks: Vec<Task>, are_kept: bool) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for task in tasks {
        let last =
            units.last_mut().filter(|unit| are_kept && unit.tasks.last().is_some_and(|last| task.goes_with(last)));
        match last {
            Some(unit) => unit.tasks.push(task),
            None => units.push(Unit { tasks: vec![task] }),
        }
    }
    units
}

impl Task {
    fn goes_with(&self, last: &Task) -> bool {
        match (last, self) {
            (Task::Piece { part: last, .. }, Task::Piece { part, .. }) => last == part,
            _ => false,
        }
    }
}

impl Unit {
    /// Returns the indexes of its parts, each with the row groups that are read; an empty list means all of them.
    fn parts(&self) -> Vec<(usize, Vec<usize>)> {
        let mut parts: Vec<(usize, Vec<usize>)> = Vec::new();
        for task in &self.tasks {
            match task {
                Task::Piece { part, .. } => parts.push((*part, Vec::new())),
                Task::TimeRanges(TimeRanges { reads, .. }) => {
                    parts.extend(reads.iter().map(|Read { part, groups, .. }| (*part, groups.clone())));
                }
            }
        }
        parts.dedup();
        parts
    }

    /// Returns the work that it belongs to; `None` if there is nothing to read.
    pub fn work<'a>(&self, work: &'a [Work<'a>]) -> Option<&'a Work<'a>> {
        self.parts().first().map(|(part, _)| &work[*part])
    }

    /// Returns its tables.
    pub fn tables(&self, work: &[Work]) -> Vec<TableId> {
        let mut tables: Vec<TableId> = self.parts().iter().map(|(part, _)| work[*part].table.id).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// Returns the inputs of the unit; `None` if one of its parts may still grow.
    pub fn made(&self, work: &[Work]) -> Result<Option<Made>> {
        let mut made = Made { spans: Vec::new(), parts: Vec::new() };
        for task in &self.tasks {
            if let Task::TimeRanges(TimeRanges { spans, .. }) = task {
                made.spans.extend(spans);
            }
        }
        for (part, groups) in self.parts() {
            let part = &work[part].part;
            let Some(identity) = reading(part.path(), || part.identity())? else { return Ok(None) };
            made.parts.push((identity, groups));
        }
        Ok(Some(made))
    }

    /// Returns the number of its first time range.
    pub fn first(&self) -> usize {
        match self.tasks.first() {
            Some(Task::TimeRanges(TimeRanges { first, .. })) => *first,
            _ => 0,
        }
    }
}
