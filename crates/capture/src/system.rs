//! Mapping of processes to systems: rules over executable, command line, cgroup and command name.
//!
//! Built-in rules cover MinIO, Ceph, etcd, PostgreSQL and GlusterFS; a rules file (TOML, see `system.toml` beside this file)
//! takes precedence. A process without a matching rule is a system of its own, named after its program ([`crate::program`]).

use std::fs::File;
use std::path::Path;

use globset::{Glob, GlobSet};
use serde::Deserialize;
use toml::Spanned;

use crate::error::{Error, Result};
use crate::files::read_all;
use crate::op::IoClass;
use crate::program;

/// "System" of data without a known owner. Names in parentheses are not processes.
pub const NOBODYS: &str = "(unknown)";

const BUILT_IN: &str = include_str!("system.toml");

/// Maximum size of a rules file.
const MOST_BYTES: u64 = 1 << 20;

/// Maximum length of a pattern. Its braces are nested at most half as deep, which fits on the stack.
const MOST_PATTERN_BYTES: usize = 1 << 10;

/// Returns the "system" of block requests without an owner, by their class.
pub const fn without_owner(class: IoClass) -> &'static str {
    match class {
        IoClass::Journal => "(journal)",
        IoClass::Metadata => "(metadata)",
        IoClass::Flush => "(flush)",
        IoClass::Swap => "(swap)",
        IoClass::Discard => "(discard)",
        IoClass::Data | IoClass::Readahead => NOBODYS,
    }
}

/// Known properties of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity<'a> {
    /// Path of the executable.
    pub exe: Option<&'a str>,
    /// Command line, arguments separated by spaces.
    pub cmdline: Option<&'a str>,
    /// Cgroup path.
    pub cgroup: Option<&'a str>,
    /// Command name.
    pub comm: Option<&'a str>,
    /// Whether it is a kernel thread.
    pub kernel_thread: bool,
}

/// Rules in effect.
#[derive(Debug, Clone)]
pub struct Systems {
    systems: Vec<System>,
}

#[derive(Debug, Clone)]
struct System {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    exe: Option<GlobSet>,
    cmdline: Option<GlobSet>,
    cgroup: Option<GlobSet>,
    comm: Option<GlobSet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    system: Vec<SystemEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemEntry {
    name: Spanned<String>,
    rules: Spanned<Vec<Spanned<RuleEntry>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    exe: Option<Spanned<String>>,
    cmdline: Option<Spanned<String>>,
    cgroup: Option<Spanned<String>>,
    comm: Option<Spanned<String>>,
}

impl Systems {
    /// Returns the built-in rules.
    pub fn built_in() -> Result<Systems> {
        Systems::parse("the built-in rules", BUILT_IN)
    }

    /// Reads the rules in `file`, followed by the built-in ones.
    pub fn with_file(file: &Path) -> Result<Systems> {
        // The file is chosen by the user and may be a pipe.
        let open = File::open(file).map_err(|e| Error::io(file, "read", e))?;
        let mistake = |line, what: &str| Error::Rules { path: file.display().to_string(), line, what: what.to_owned() };
        let text = String::from_utf8(read_all(file, open, MOST_BYTES)?).map_err(|e| {
            let until = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            mistake(line_of(until), "bytes that are not UTF-8, expected text")
        })?;
        let mut systems = Systems::parse(&file.display().to_string(), &text)?;
        systems.systems.extend(Systems::built_in()?.systems);
        Ok(systems)
    }

    fn parse(path: &str, text: &str) -> Result<Systems> {
        let mistake = |offset: usize, what: String| Error::Rules {
            path: path.to_owned(),
            line: line_of(text.as_bytes().get(..offset).unwrap_or(text.as_bytes())),
            // One line, whatever the parser returns.
            what: what.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        let file: RulesFile =
            toml::from_str(text).map_err(|e| mistake(e.span().map_or(0, |s| s.start), e.message().to_owned()))?;
        let glob = |pattern: Option<Spanned<String>>| {
            let Some(pattern) = pattern else { return Ok(None) };
            let (start, length) = (pattern.span().start, pattern.as_ref().len());
            if length > MOST_PATTERN_BYTES {
                let what = format!("a pattern of {length} bytes, expected at most {MOST_PATTERN_BYTES}");
                return Err(mistake(start, what));
            }
            // A set of one glob: creating a matcher directly panics if its expression is too large.
            let glob = Glob::new(pattern.as_ref())
                .map_err(|e| mistake(start, format!("{e}; expected a glob such as \"*/etcd\"")))?;
            let set = GlobSet::builder().add(glob).build();
            set.map(Some).map_err(|_| mistake(start, "a glob that is too large, or braces nested too deeply".into()))
        };
        let mut systems = Vec::new();
        for entry in file.system {
            if entry.name.as_ref().trim().is_empty() {
                return Err(mistake(entry.name.span().start, "empty name, expected the system's name".into()));
            }
            if is_no_process(entry.name.as_ref()) {
                let what = "a name in parentheses, expected one without: such names are for I/O without a process";
                return Err(mistake(entry.name.span().start, what.into()));
            }
            if entry.rules.as_ref().is_empty() {
                let what = "no rules, expected at least one such as { exe = \"*/etcd\" }";
                return Err(mistake(entry.rules.span().start, what.into()));
            }
            let mut rules = Vec::new();
            for rule in entry.rules.into_inner() {
                let start = rule.span().start;
                let rule = rule.into_inner();
                let rule = Rule {
                    exe: glob(rule.exe)?,
                    cmdline: glob(rule.cmdline)?,
                    cgroup: glob(rule.cgroup)?,
                    comm: glob(rule.comm)?,
                };
                if rule.is_empty() {
                    return Err(mistake(start, "empty rule, expected exe, cmdline, cgroup or comm".into()));
                }
                rules.push(rule);
            }
            systems.push(System { name: entry.name.into_inner(), rules });
        }
        Ok(Systems { systems })
    }

    /// Returns the name of the system that a process belongs to.
    pub fn name_of(&self, process: &Identity) -> String {
        let known = self.systems.iter().find(|s| s.rules.iter().any(|r| r.matches(process)));
        match known {
            Some(system) => system.name.clone(),
            None => of_a_process(program::name(process)),
        }
    }
}

impl Rule {
    fn is_empty(&self) -> bool {
        self.exe.is_none() && self.cmdline.is_none() && self.cgroup.is_none() && self.comm.is_none()
    }

    fn matches(&self, process: &Identity) -> bool {
        let fits = |pattern: &Option<GlobSet>, text: Option<&str>| match (pattern, text) {
            (None, _) => true,
            (Some(pattern), Some(text)) => pattern.is_match(text),
            (Some(_), None) => false,
        };
        fits(&self.exe, process.exe)
            && fits(&self.cmdline, process.cmdline)
            && fits(&self.cgroup, process.cgroup)
            && fits(&self.comm, process.comm)
    }
}

/// Returns the line, counted from 1, that follows `text`.
fn line_of(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Whether a name is reserved for I/O without a process.
fn is_no_process(name: &str) -> bool {
    name.starts_with('(') && name.ends_with(')')
}

/// Returns the name of a process. A process that calls itself `(journal)` must not appear as the journal.
pub fn of_a_process(name: String) -> String {
    if is_no_process(&name) { format!("process {name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exe(path: &str) -> Identity<'_> {
        Identity { exe: Some(path), comm: Some("some"), ..Identity::default() }
    }

    #[test]
    fn built_in_systems_are_known_by_executable() {
        let systems = Systems::built_in().expect("the built-in rules are right");
        assert_eq!(systems.name_of(&exe("/usr/lib/postgresql/15/bin/postgres")), "PostgreSQL");
        assert_eq!(systems.name_of(&exe("/usr/bin/ceph-osd")), "Ceph");
        assert_eq!(systems.name_of(&exe("/usr/local/bin/etcd")), "etcd");
        assert_eq!(systems.name_of(&exe("/opt/minio")), "MinIO");
        assert_eq!(systems.name_of(&exe("/usr/sbin/glusterfsd")), "GlusterFS");
        assert_eq!(systems.name_of(&exe("/usr/bin/etcdctl")), "etcdctl");
        assert_eq!(systems.name_of(&Identity { comm: Some("some"), ..Identity::default() }), "some");
    }

    #[test]
    fn a_process_takes_no_name_of_what_is_no_process() {
        let systems = Systems::built_in().expect("the built-in rules are right");
        for class in IoClass::ALL {
            let comm = Identity { comm: Some(without_owner(*class)), ..Identity::default() };
            assert_eq!(systems.name_of(&comm), format!("process {}", without_owner(*class)));
            let path = format!("/opt/{}", without_owner(*class));
            assert_eq!(systems.name_of(&exe(&path)), format!("process {}", without_owner(*class)));
        }
        let text = "[[system]]\nname = \"(journal)\"\nrules = [{ comm = \"x\" }]\n";
        assert!(Systems::parse("r.toml", text).is_err());
    }

    #[test]
    fn every_pattern_of_a_rule_must_match() {
        let text = "[[system]]\nname = \"shard\"\nrules = [{ comm = \"mongod\", cgroup = \"*/shard-?\" }]\n";
        let systems = Systems::parse("rules.toml", text).expect("right");
        let mut mongod = Identity { comm: Some("mongod"), cgroup: Some("/db/shard-1"), ..Identity::default() };
        assert_eq!(systems.name_of(&mongod), "shard");
        mongod.cgroup = None;
        assert_eq!(systems.name_of(&mongod), "mongod");
    }

    #[test]
    fn mistakes_are_named_with_file_and_line() {
        for (text, expected) in [
            ("[[system]]\nname = 3\nrules = []\n", "r.toml:2: invalid type: integer `3`, expected a string"),
            (
                "[[system]]\nname = \"x\"\nrules = []\n",
                "r.toml:3: no rules, expected at least one such as { exe = \"*/etcd\" }",
            ),
            ("[[system]]\nname = \"x\"\nrules = [{}]\n", "r.toml:3: empty rule, expected exe, cmdline, cgroup or comm"),
            (
                "[[system]]\nname = \"x\"\nrules = [\n{ exe = \"[\" }]\n",
                "r.toml:4: error parsing glob '[': unclosed character class; missing ']'; expected a glob such as \"*/etcd\"",
            ),
            (
                &format!("[[system]]\nname = \"x\"\nrules = [{{ exe = \"{}\" }}]\n", "?".repeat(1025)),
                "r.toml:3: a pattern of 1025 bytes, expected at most 1024",
            ),
            (
                &format!(
                    "[[system]]\nname = \"x\"\nrules = [{{ exe = \"{}{}\" }}]\n",
                    "{a".repeat(300),
                    "}".repeat(300)
                ),
                "r.toml:3: a glob that is too large, or braces nested too deeply",
            ),
            (
                "[[system]]\nname = \"x\"\nrules = [{ exec = \"a\" }]\n",
                "r.toml:3: unknown field `exec`, expected one of `exe`, `cmdline`, `cgroup`, `comm`",
            ),
        ] {
            let error = Systems::parse("r.toml", text).expect_err("a mistake");
            assert_eq!(error.to_string(), expected);
        }
    }
}
