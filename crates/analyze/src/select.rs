//! Filters on captures: a time window, layers, systems, processes, cgroups, files and devices.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, NaiveDateTime, Utc};
use globset::{Glob, GlobSet};
use iostrata_capture::Capture;
use iostrata_capture::exit::Usage;
use iostrata_capture::op::{IoClass, Layer};
use iostrata_capture::system::{NOBODYS, without_owner};

use crate::entity::{Entity, Scope};
use crate::names::Names;

/// Time given by a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Wall-clock time of the recorded machine.
    Wall(DateTime<Utc>),
    /// Offset from the start of the first capture.
    AfterStart(Duration),
    /// Offset back from the end of the last capture.
    BeforeEnd(Duration),
}

/// Formats without a zone, in UTC: as tables show times, with or without seconds.
const FORMATS: [&str; 4] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];

impl Moment {
    /// Parses `2026-11-22T16:00:00Z`, `2026-11-22 16:00` (UTC), `5m 30s` or `-30s`.
    ///
    /// # Errors
    /// The expected format.
    pub fn parse(typed: &str) -> Result<Moment, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(typed) {
            return Ok(Moment::Wall(time.to_utc()));
        }
        if let Some(time) = FORMATS.iter().find_map(|format| NaiveDateTime::parse_from_str(typed, format).ok()) {
            return Ok(Moment::Wall(time.and_utc()));
        }
        let offset = match typed.strip_prefix('-') {
            Some(before) => humantime::parse_duration(before).map(Moment::BeforeEnd),
            None => humantime::parse_duration(typed).map(Moment::AfterStart),
        };
        offset.map_err(|_| {
            "expected a time such as 2026-11-22T16:00:00Z or \"2026-11-22 16:00\" (UTC), an offset from the start such as 5m30s, or one back from the \
             end such as -30s"
                .to_owned()
        })
    }
}

/// Name filter: a glob, and the text as typed.
#[derive(Debug, Clone)]
pub struct Pattern {
    typed: String,
    glob: GlobSet,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The expected format.
    pub fn parse(typed: &str) -> Result<Pattern, String> {
        let set = Glob::new(typed).and_then(|glob| GlobSet::builder().add(glob).build());
        set.map(|glob| Pattern { typed: typed.to_owned(), glob })
            .map_err(|_| "expected a name or a glob such as `ceph-*`".to_owned())
    }

    /// Whether it can match ids only, which every entity has.
    fn is_id(&self) -> bool {
        self.typed.chars().all(|letter| letter.is_ascii_digit() || ":@".contains(letter))
    }

    /// Whether it starts with a parenthesis, as do the names of unattributed I/O. Globs do not match these names.
    fn asks_for_nobodys(&self) -> bool {
        self.typed.starts_with('(')
    }

    /// Whether the name or the id matches; of an id with an `@`, the part before it is enough, and of a path its last part, unless the pattern has
    /// several.
    fn matches(&self, name: &str, id: &str) -> bool {
        let before = id.split_once('@').map_or(id, |(before, _)| before);
        let last = if self.typed.contains('/') { "" } else { name.rsplit('/').next().unwrap_or_default() };
        [name, id, before, last].iter().any(|text| !text.is_empty() && self.glob.is_match(text))
    }
}

/// Filters. Of each kind one must match; an empty kind matches everything.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Excludes events that began earlier.
    pub since: Option<Moment>,
    /// Excludes events that began at this time or later.
    pub until: Option<Moment>,
    /// Layers.
    pub layers: Vec<Layer>,
    /// Systems by name.
    pub systems: Vec<Pattern>,
    /// Processes, cgroups, files and devices by name or id, in the order of [`Scope::ALL`].
    pub entities: [Vec<Pattern>; Scope::ALL.len()],
}

/// Result of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Matches.
    Selected,
    /// May match: the owner or name is unknown.
    Doubtful,
    /// Does not match.
    LeftOut,
}

/// Selected times of a capture, by `ts_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Excludes events that began at this time or before.
    pub after_ns: Option<i64>,
    /// Excludes events that began at this time or later.
    pub until_ns: Option<i64>,
}

impl Window {
    /// Whether an event that began between these times, inclusive, may be selected.
    #[inline]
    pub fn reaches(self, (first_ns, last_ns): (i64, i64)) -> bool {
        self.after_ns.is_none_or(|after_ns| last_ns > after_ns)
            && self.until_ns.is_none_or(|until_ns| first_ns < until_ns)
    }
}

impl Selection {
    /// Whether `layer` is selected.
    pub fn takes_layer(&self, layer: Layer) -> bool {
        self.layers.is_empty() || self.layers.contains(&layer)
    }

    /// Whether all systems, processes, cgroups, files and devices are selected.
    pub fn takes_all(&self) -> bool {
        self.systems.is_empty() && self.entities.iter().all(Vec::is_empty)
    }

    /// Whether the selection depends on names of files.
    pub fn selects_files(&self) -> bool {
        !self.entities[Scope::File as usize].is_empty()
    }

    /// Evaluates the filters for `system` and these entities.
    pub fn verdict(&self, names: &Names, system: &str, entities: &[Entity; Scope::ALL.len()]) -> Verdict {
        let mut verdict = Verdict::Selected;
        let mut ask = |patterns: &[Pattern], (name, id): (&str, &str), is_nobodys: bool, is_unknown: bool| {
            let mut asked = patterns.iter().filter(|pattern| !is_nobodys || pattern.asks_for_nobodys());
            if patterns.is_empty() || asked.any(|pattern| pattern.matches(name, id)) {
                return;
            }
            verdict = match verdict {
                Verdict::Selected | Verdict::Doubtful if is_unknown => Verdict::Doubtful,
                _ => Verdict::LeftOut,
            };
        };
        let is_nobodys = IoClass::ALL.iter().any(|class| system == without_owner(*class));
        ask(&self.systems, (system, ""), is_nobodys, system == NOBODYS);
        for (patterns, entity) in self.entities.iter().zip(entities).filter(|(patterns, _)| !patterns.is_empty()) {
            let (name, id) = names.of(entity);
            let is_unknown = match entity {
                Entity::Nobody(_, class) => *class == IoClass::Data,
                _ => may_be_called_otherwise(entity, &name, patterns),
            };
            ask(patterns, (&name, &id), matches!(entity, Entity::Nobody(..)), is_unknown);
        }
        verdict
    }

    /// Returns the window of each of `captures`.
    ///
    /// # Errors
    /// If the window ends before it begins, or a manifest has no valid start time.
    pub fn windows(&self, captures: &[Capture]) -> Result<Vec<Window>> {
        let mut windows = Vec::with_capacity(captures.len());
        let mut is_empty = !captures.is_empty();
        for capture in captures {
            let ts_ns = |moment: Option<Moment>| moment.map(|moment| ts_ns(moment, capture, captures)).transpose();
            let (since_ns, until_ns) = (ts_ns(self.since)?, ts_ns(self.until)?);
            is_empty &= since_ns.zip(until_ns).is_some_and(|(since_ns, until_ns)| since_ns >= until_ns);
            let after_ns = since_ns.map(|since_ns| since_ns.saturating_sub(1));
            windows.push(Window { after_ns: capture.list.removed_until_ns().max(after_ns), until_ns });
        }
        if is_empty {
            bail!(Usage("--until is not after --since, expected a later time".to_owned()));
        }
        Ok(windows)
    }

    /// Whether it has a time window.
    pub fn is_windowed(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Describes the filters in words; none if there are none.
    pub fn words(&self) -> Option<String> {
        let moment = |moment: &Moment| match moment {
            Moment::Wall(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            Moment::AfterStart(after) => format!("{} after the start", humantime::format_duration(*after)),
            Moment::BeforeEnd(before) => format!("{} before the end", humantime::format_duration(*before)),
        };
        let mut words = Vec::new();
        words.extend(self.since.iter().map(|since| format!("since {}", moment(since))));
        words.extend(self.until.iter().map(|until| format!("until {}", moment(until))));
        let mut list = |what: &str, names: Vec<&str>| {
            if !names.is_empty() {
                words.push(format!("{what} {}", names.join(" or ")));
            }
        };
        list("layer", self.layers.iter().map(|layer| layer.name()).collect());
        list("system", self.systems.iter().map(|pattern| pattern.typed.as_str()).collect());
        for (scope, patterns) in Scope::ALL.iter().zip(&self.entities) {
            list(scope.name(), patterns.iter().map(|pattern| pattern.typed.as_str()).collect());
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Whether the entity may have a requested name besides the known one.
fn may_be_called_otherwise(entity: &Entity, name: &str, patterns: &[Pattern]) -> bool {
    let mut names = patterns.iter().filter(|pattern| !pattern.is_id());
    match entity {
        // A path that is not from the root of a mount namespace may have any such path.
        Entity::File(..) if !name.starts_with('/') => {
            names.any(|pattern| name.is_empty() || pattern.typed.starts_with('/'))
        }
        _ => name.is_empty() && names.next().is_some(),
    }
}

/// Converts a time to the monotonic time of `capture`.
fn ts_ns(moment: Moment, capture: &Capture, captures: &[Capture]) -> Result<i64> {
    let ns = |time: DateTime<Utc>| time.timestamp_nanos_opt();
    let ts_ns = match moment {
        Moment::Wall(time) => ns(time).map(|wall_ns| capture.wall.reaches(wall_ns)),
        // At the start both clocks agree; later changes of the wall clock do not matter.
        Moment::AfterStart(after) => {
            let starts: Vec<DateTime<Utc>> = captures.iter().map(start).collect::<Result<_>>()?;
            let after = chrono::Duration::from_std(after).ok();
            let time = starts.into_iter().min().zip(after).and_then(|(start, after)| start.checked_add_signed(after));
            time.and_then(ns)
        }
        Moment::BeforeEnd(before) => {
            let ends: Vec<i64> = captures.iter().map(end_wall_ns).collect::<Result<_>>()?;
            let before = i64::try_from(before.as_nanos()).ok();
            let wall_ns = ends.into_iter().max().zip(before).map(|(end, before)| end.saturating_sub(before));
            wall_ns.map(|wall_ns| capture.wall.reaches(wall_ns))
        }
    };
    ts_ns.context("--since or --until is out of range, expected a time in 64-bit nanoseconds")
}

/// Returns the time at which a capture ends: that of its stop, or of an interrupted one the time up to which it is complete.
fn end_wall_ns(capture: &Capture) -> Result<i64> {
    let manifest = &capture.manifest;
    let stopped = manifest.stopped_at.as_deref().and_then(|told| DateTime::parse_from_rfc3339(told).ok());
    let stopped_ns = stopped.and_then(|time| time.timestamp_nanos_opt());
    let whole_ns = manifest.whole_until_ns.map(|ts_ns| capture.wall.at(ts_ns));
    whole_ns.or(stopped_ns).with_context(|| {
        let name = capture.directory.display();
        format!("{name}: the end is not known, expected a finished capture for a time before it (`iostrata-analyze recover` repairs an interrupted one)")
    })
}

/// Returns the start of a capture.
fn start(capture: &Capture) -> Result<DateTime<Utc>> {
    let told = &capture.manifest.started_at;
    let time = DateTime::parse_from_rfc3339(told);
    let manifest = || format!("{}: started_at is {told:?}, expected a time", capture.directory.display());
    Ok(time.with_context(manifest)?.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{CaptureNumber, FileId};

    fn pattern(typed: &str) -> Pattern {
        Pattern::parse(typed).expect("a glob")
    }

    #[test]
    fn a_name_an_id_and_what_stands_before_the_at_are_asked_for() {
        assert!(pattern("postgres").matches("postgres", "12@99"));
        assert!(pattern("12").matches("postgres", "12@99") && pattern("12@99").matches("", "12@99"));
        assert!(
            pattern("/data/*.wal").matches("/data/pg/0001.wal", "8:1:7@3") && pattern("8:1:7").matches("", "8:1:7@3")
        );
        assert!(!pattern("1").matches("postgres", "12@99") && !pattern("*").matches("", ""));
        assert!(
            pattern("0001.wal").matches("/data/pg/0001.wal", "8:1:7@3")
                && pattern("000?.wal").matches("…/pg/0001.wal", "")
        );
        assert!(
            !pattern("pg/0001.wal").matches("/data/pg/0001.wal", "") && !pattern("pg").matches("/data/pg/0001.wal", "")
        );
    }

    #[test]
    fn a_moment_is_a_time_or_a_duration() {
        let time = DateTime::parse_from_rfc3339("2026-11-22T16:00:00Z").expect("a time").to_utc();
        assert_eq!(Moment::parse("2026-11-22T17:00:00+01:00"), Ok(Moment::Wall(time)));
        assert_eq!(Moment::parse("1m30s"), Ok(Moment::AfterStart(Duration::from_secs(90))));
        for typed in ["2026-11-22 16:00", "2026-11-22 16:00:00", "2026-11-22T16:00"] {
            assert_eq!(Moment::parse(typed), Ok(Moment::Wall(time)), "{typed}");
        }
        assert_eq!(Moment::parse("-30s"), Ok(Moment::BeforeEnd(Duration::from_secs(30))));
        assert!(["yesterday", "--30s", "-", "2026-11-22"].iter().all(|typed| Moment::parse(typed).is_err()));
    }

    #[test]
    fn what_is_nobodys_may_be_what_is_asked_for_unless_something_else_says_that_it_is_not() {
        let names = Names::new(&[], &[], &[]);
        let nobody = Scope::ALL.map(|scope| Entity::Nobody(scope, IoClass::Data));
        let journal = Scope::ALL.map(|scope| Entity::Nobody(scope, IoClass::Journal));
        let verdict = |selection: &Selection, system, entities| selection.verdict(&names, system, entities);
        let mut by_process = Selection::default();
        by_process.entities[Scope::Process as usize].push(pattern("etcd"));
        assert_eq!(verdict(&by_process, NOBODYS, &nobody), Verdict::Doubtful);
        assert_eq!(verdict(&by_process, "(journal)", &journal), Verdict::LeftOut);
        let of_system = Selection { systems: vec![pattern("MinIO")], ..by_process.clone() };
        assert_eq!(verdict(&of_system, "fio", &nobody), Verdict::LeftOut);
        assert_eq!(verdict(&of_system, NOBODYS, &nobody), Verdict::Doubtful);
        assert_eq!(verdict(&Selection::default(), "fio", &journal), Verdict::Selected);
        let any = Selection { systems: vec![pattern("*")], ..Selection::default() };
        assert_eq!(verdict(&any, "(journal)", &journal), Verdict::LeftOut, "no glob means that by chance");
        let of_journal = Selection { systems: vec![pattern("(journal)")], ..Selection::default() };
        assert_eq!(verdict(&of_journal, "(journal)", &journal), Verdict::Selected);
    }

    #[test]
    fn what_has_no_name_that_is_known_may_be_what_is_asked_for() {
        let file = |name: &str, typed: &str| {
            let file = Entity::File(CaptureNumber::default(), FileId { dev: 1, ino: 1, generation: None });
            may_be_called_otherwise(&file, name, &[pattern(typed)])
        };
        assert!(file("", "*.wal") && file("[8:1]/x.wal", "/var/*") && file("…/x.wal", "/var/x.wal"));
        assert!(!file("", "8:1:7") && !file("/lib/x.wal", "/var/*") && !file("[8:1]/x.wal", "*.sst"));
        let process = |name: &str, typed: &str| {
            may_be_called_otherwise(&Entity::Process(CaptureNumber::default(), 1, 1), name, &[pattern(typed)])
        };
        assert!(process("", "etcd") && !process("", "77") && !process("fio", "etcd"));
    }

    #[test]
    fn what_is_asked_for_is_said() {
        let mut selection =
            Selection { since: Moment::parse("10s").ok(), layers: vec![Layer::Block], ..Selection::default() };
        selection.entities[Scope::File as usize] = vec![pattern("*.wal"), pattern("*.sst")];
        let words = selection.words().expect("something");
        assert_eq!(words, "since 10s after the start, layer block, file *.wal or *.sst");
        assert_eq!(Selection::default().words(), None);
    }
}
