//! Units: tasks that are done by one thread, one after the other, and whose result may be kept in a file.

use anyhow::Result;
use iostrata_capture::TableId;
use iostrata_capture::guard::reading;

use super::{Read, Stretches, Task, Work};
use crate::store::{Id, Made, Store};

/// Tasks that follow each other.
pub struct Unit {
    /// They themselves, at least one.
    pub tasks: Vec<Task>,
}

/// Each task by itself, unless results `are_kept`.
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
    /// The places of its parts in the work, each with the row groups of it that are read, where these are not all.
    fn parts(&self) -> Vec<(usize, Vec<usize>)> {
        let mut parts: Vec<(usize, Vec<usize>)> = Vec::new();
        for task in &self.tasks {
            match task {
                Task::Piece { part, .. } => parts.push((*part, Vec::new())),
                Task::Stretches(Stretches { reads, .. }) => {
                    parts.extend(reads.iter().map(|Read { part, groups, .. }| (*part, groups.clone())));
                }
            }
        }
        parts.dedup();
        parts
    }

    /// The work that it is of; none, where there is nothing to be read.
    pub fn work<'a>(&self, work: &'a [Work<'a>]) -> Option<&'a Work<'a>> {
        self.parts().first().map(|(part, _)| &work[*part])
    }

    /// The tables that it is of.
    pub fn tables(&self, work: &[Work]) -> Vec<TableId> {
        let mut tables: Vec<TableId> = self.parts().iter().map(|(part, _)| work[*part].table.id).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// What tells it from all others; none, where a part of it may still grow.
    pub fn id(&self, work: &[Work], store: &Store, scope: Id) -> Result<Option<Id>> {
        let mut made = Made { spans: Vec::new(), parts: Vec::new() };
        for task in &self.tasks {
            if let Task::Stretches(Stretches { spans, .. }) = task {
                made.spans.extend(spans);
            }
        }
        for (part, groups) in self.parts() {
            let part = &work[part].part;
            let Some(identity) = reading(part.path(), || part.identity())? else { return Ok(None) };
            made.parts.push((identity, groups));
        }
        store.id(scope, &made).map(Some)
    }

    /// The number of its first stretch.
    pub fn first(&self) -> usize {
        match self.tasks.first() {
            Some(Task::Stretches(Stretches { first, .. })) => *first,
            _ => 0,
        }
    }
}
