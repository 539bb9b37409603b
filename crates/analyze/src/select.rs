//! What of the captures is asked for: a window of time, layers, systems, processes, cgroups, files and devices.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use globset::{Glob, GlobSet};
use iostrata_capture::Capture;
use iostrata_capture::exit::Usage;
use iostrata_capture::op::{IoClass, Layer};
use iostrata_capture::system::{NOBODYS, without_owner};

use crate::entity::{Entity, Scope};
use crate::names::Names;

/// A moment, as a user tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// By the wall clock of the recorded machine.
    Wall(DateTime<Utc>),
    /// So long after the first of the captures began.
    AfterStart(Duration),
}

impl Moment {
    /// From `2026-11-22T16:00:00Z`, or from `5m 30s`.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn parse(typed: &str) -> Result<Moment, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(typed) {
            return Ok(Moment::Wall(time.to_utc()));
        }
        let after_start = humantime::parse_duration(typed).map(Moment::AfterStart);
        after_start.map_err(|_| {
            "expected a time such as 2026-11-22T16:00:00Z, or how long after the start, such as 5m30s".to_owned()
        })
    }
}

/// Names that a user asks for: a glob, and how it was typed.
#[derive(Debug, Clone)]
pub struct Pattern {
    typed: String,
    glob: GlobSet,
}

impl Pattern {
    /// From what the user typed.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn parse(typed: &str) -> Result<Pattern, String> {
        let set = Glob::new(typed).and_then(|glob| GlobSet::builder().add(glob).build());
        set.map(|glob| Pattern { typed: typed.to_owned(), glob })
            .map_err(|_| "expected a name or a glob such as `ceph-*`".to_owned())
    }

    /// Whether it can be nothing but an id, which everything has.
    fn is_id(&self) -> bool {
        self.typed.chars().all(|letter| letter.is_ascii_digit() || ":@".contains(letter))
    }

    /// Whether it asks for a word in parentheses, which stands for what is nobody's. No glob means that by chance.
    fn asks_for_nobodys(&self) -> bool {
        self.typed.starts_with('(')
    }

    /// Whether a name or an id is asked for; of an id with an `@` it is enough what stands before it.
    fn matches(&self, name: &str, id: &str) -> bool {
        let before = id.split_once('@').map_or(id, |(before, _)| before);
        [name, id, before].iter().any(|text| !text.is_empty() && self.glob.is_match(text))
    }
}

/// What a user asks for. Of each kind one must match; where none is given, all do.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// What began before is left out.
    pub since: Option<Moment>,
    /// What began then or later is left out.
    pub until: Option<Moment>,
    /// Layers.
    pub layers: Vec<Layer>,
    /// Systems by name.
    pub systems: Vec<Pattern>,
    /// Processes, cgroups, files and devices by name or id, in the order of [`Scope::ALL`].
    pub entities: [Vec<Pattern>; Scope::ALL.len()],
}

/// Whether something is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Selected,
    /// It may be: whose it is nobody knows.
    Doubtful,
    /// It is not.
    LeftOut,
}

/// Times in which rows of a capture are asked for, by `ts_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What began then or before is left out.
    pub after_ns: Option<i64>,
    /// What began then or later is left out.
    pub until_ns: Option<i64>,
}

impl Window {
    /// Whether something that began from the first of these times up to the last may be asked for.
    #[inline]
    pub fn reaches(self, (first_ns, last_ns): (i64, i64)) -> bool {
        self.after_ns.is_none_or(|after_ns| last_ns > after_ns)
            && self.until_ns.is_none_or(|until_ns| first_ns < until_ns)
    }
}

impl Selection {
    /// Whether `layer` is asked for.
    pub fn takes_layer(&self, layer: Layer) -> bool {
        self.layers.is_empty() || self.layers.contains(&layer)
    }

    /// Whether all systems, processes, cgroups, files and devices are asked for.
    pub fn takes_all(&self) -> bool {
        self.systems.is_empty() && self.entities.iter().all(Vec::is_empty)
    }

    /// Whether names of files decide what is asked for.
    pub fn selects_files(&self) -> bool {
        !self.entities[Scope::File as usize].is_empty()
    }

    /// Whether what is of `system` and of these entities is asked for.
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

    /// The window of each of `captures`.
    ///
    /// # Errors
    /// Where it ends before it begins, or a manifest does not say when its capture began.
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
            bail!(Usage("--until is not after --since, so there is nothing between them".to_owned()));
        }
        Ok(windows)
    }

    /// Whether it is about some time.
    pub fn is_windowed(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// What is asked for, in words; none where it is all.
    pub fn words(&self) -> Option<String> {
        let moment = |moment: &Moment| match moment {
            Moment::Wall(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            Moment::AfterStart(after) => format!("{} after the start", humantime::format_duration(*after)),
        };
        let mut words = Vec::new();
        words.extend(self.since.iter().map(|since| format!("from {} on", moment(since))));
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

/// Whether an entity may have a name that is asked for, beside the one that is known of it.
fn may_be_called_otherwise(entity: &Entity, name: &str, patterns: &[Pattern]) -> bool {
    let mut names = patterns.iter().filter(|pattern| !pattern.is_id());
    match entity {
        // One that is not known from the root of a mount namespace may be any from there.
        Entity::File(..) if !name.starts_with('/') => {
            names.any(|pattern| name.is_empty() || pattern.typed.starts_with('/'))
        }
        _ => name.is_empty() && names.next().is_some(),
    }
}

/// When a moment was, in the time of `capture`.
fn ts_ns(moment: Moment, capture: &Capture, captures: &[Capture]) -> Result<i64> {
    let ns = |time: DateTime<Utc>| time.timestamp_nanos_opt();
    let ts_ns = match moment {
        Moment::Wall(time) => ns(time).map(|wall_ns| capture.wall.reaches(wall_ns)),
        // At the start both clocks agree, and what is done to the wall clock later has nothing to do with it.
        Moment::AfterStart(after) => {
            let starts: Vec<DateTime<Utc>> = captures.iter().map(start).collect::<Result<_>>()?;
            let after = chrono::Duration::from_std(after).ok();
            let time = starts.into_iter().min().zip(after).and_then(|(start, after)| start.checked_add_signed(after));
            time.and_then(ns)
        }
    };
    ts_ns.context("--since or --until is a time that no clock tells")
}

/// When a capture began.
fn start(capture: &Capture) -> Result<DateTime<Utc>> {
    let told = &capture.manifest.started_at;
    let time = DateTime::parse_from_rfc3339(told);
    let manifest = || format!("{}: started_at is {told:?}, expected a time", capture.directory.display());
    Ok(time.with_context(manifest)?.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::FileId;

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
    }

    #[test]
    fn a_moment_is_a_time_or_a_duration() {
        let time = DateTime::parse_from_rfc3339("2026-11-22T16:00:00Z").expect("a time").to_utc();
        assert_eq!(Moment::parse("2026-11-22T17:00:00+01:00"), Ok(Moment::Wall(time)));
        assert_eq!(Moment::parse("1m30s"), Ok(Moment::AfterStart(Duration::from_secs(90))));
        assert!(Moment::parse("yesterday").is_err());
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
            let file = Entity::File(0, FileId { dev: 1, ino: 1, generation: None });
            may_be_called_otherwise(&file, name, &[pattern(typed)])
        };
        assert!(file("", "*.wal") && file("[8:1]/x.wal", "/var/*") && file("…/x.wal", "/var/x.wal"));
        assert!(!file("", "8:1:7") && !file("/lib/x.wal", "/var/*") && !file("[8:1]/x.wal", "*.sst"));
        let process =
            |name: &str, typed: &str| may_be_called_otherwise(&Entity::Process(0, 1, 1), name, &[pattern(typed)]);
        assert!(process("", "etcd") && !process("", "77") && !process("fio", "etcd"));
    }

    #[test]
    fn what_is_asked_for_is_said() {
        let mut selection =
            Selection { since: Moment::parse("10s").ok(), layers: vec![Layer::Block], ..Selection::default() };
        selection.entities[Scope::File as usize] = vec![pattern("*.wal"), pattern("*.sst")];
        let words = selection.words().expect("something");
        assert_eq!(words, "from 10s after the start on, layer block, file *.wal or *.sst");
        assert_eq!(Selection::default().words(), None);
    }
}
