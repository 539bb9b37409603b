//! Loaded and attached BPF programs, with their maps.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use iostrata_capture::manifest::MapUse;
use iostrata_capture::message::tell_all;
use libbpf_rs::libbpf_sys::bpf_map_create_opts;
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, MapType, OpenObject, PrintLevel};

use crate::bpf::{
    IostrataSkel, IostrataSkelBuilder, OpenIostrataSkel, bytes_of, percpu, program, read_record, select, types,
};
use crate::classes::OFTEN;
use crate::clock;
use crate::fullness::Fullness;
use crate::groups::syscall::opcode_name;
use crate::groups::{Attachment, Program, RECORD_GROUPS, RecordGroup};
use crate::kernel_facts::KernelFacts;
use crate::readings;
use crate::without_row::Unseen;

mod accounts;
mod aggregation_slots;
mod barrier;
mod earlier;
mod left;
mod owners;
mod words;

pub use accounts::{Accounts, SharedAccounts};
pub use aggregation_slots::AggregationSlots;
pub use barrier::Barrier;
use earlier::StillCalling;
use owners::OwnerTables;
pub use words::{Words, words};

/// Settings for loading the programs.
#[derive(Clone, Default)]
pub struct Settings {
    /// Programs to load and attach, in this order.
    pub programs: Vec<Program>,
    /// Configuration of the BPF programs.
    pub config: types::config,
    /// Total size of the rings.
    pub ring_bytes: u64,
    /// Device filter settings of disks, partitions and mounted file systems; empty without a device filter.
    pub devices: Vec<(i32, types::device_use)>,
    /// Disks below each disk or file system; empty without an owner filter.
    pub stands_on: Vec<(i32, Vec<i32>)>,
    /// Size of the machine's memory, which determines the size of the page owner tables; minimum size if 0.
    pub machine_bytes: u64,
}

/// Last messages of libbpf, used to explain a failure.
static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Captures libbpf's messages, so that they do not appear on the terminal.
pub fn quiet_libbpf() {
    fn keep(_: PrintLevel, message: String) {
        if let Ok(mut complaints) = COMPLAINTS.lock() {
            if std::env::var_os("IOSTRATA_LIBBPF_LOG").is_some() {
                tell_all(&message);
            }
            complaints.truncate(200);
            complaints.push(message);
        }
    }
    libbpf_rs::set_print(Some((PrintLevel::Warn, keep)));
}

/// Returns the program that the kernel refused last, from libbpf's message `prog 'NAME': BPF program load failed: …`.
fn refused_program() -> Option<String> {
    let complaints = COMPLAINTS.lock().ok()?;
    let telling = complaints.iter().rev().find(|c| c.contains("BPF program load failed"))?;
    telling.split('\'').nth(1).map(str::to_owned)
}

fn clear_complaints() {
    if let Ok(mut complaints) = COMPLAINTS.lock() {
        complaints.clear();
    }
}

/// A program that the kernel refuses.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// Name of the program.
    pub program: String,
    /// Reason, in one line.
    pub why: String,
}

/// Times around a change of whether completed requests become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Just before rows begin.
    Opening,
    /// Rows have begun.
    Open,
    /// Just before rows end.
    Closing,
    /// Rows have ended.
    Closed,
}

/// Loaded programs; detached when dropped.
pub struct Session<'obj> {
    skeleton: IostrataSkel<'obj>,
    /// In the order of attachment; whether each is needed until no operation can begin any more.
    links: Vec<(bool, Link)>,
    still_calling: StillCalling,
    rings: Vec<MapHandle>,
    fullness: Fullness,
    readings: Arc<readings::Counts>,
}

/// Whether there are programs for operations on files, and not only for requests.
fn follow_files(programs: &[Program]) -> bool {
    programs.iter().any(|program| program.group.has_files)
}

/// Names of the chosen programs of `group`.
fn names_of<'a>(programs: &'a [Program], group: &RecordGroup) -> Vec<&'a str> {
    let of_group = programs.iter().filter(|program| std::ptr::eq(program.group, group));
    of_group.map(|program| program.name.as_str()).collect()
}

/// Shrinks the maps that only a filter, or the programs of one group, use, to one entry if these are absent.
fn shrink_unused(open: &mut OpenIostrataSkel, Settings { programs, config, .. }: &Settings) -> Result<()> {
    if config.filter_device == 0 {
        open.maps.devices.set_max_entries(1)?;
    }
    if config.filter_pid == 0 && config.filter_cgroup == 0 && config.filter_comm == 0 {
        open.maps.stands_on.set_max_entries(1)?;
        open.maps.used_devices.set_max_entries(1)?;
        open.maps.left_out.set_max_entries(1)?;
    }
    if !follow_files(programs) && config.names_files == 0 {
        open.maps.named.set_max_entries(1)?;
    }
    for group in RECORD_GROUPS.iter().filter(|group| names_of(programs, group).is_empty()) {
        (group.shrink)(open)?;
    }
    Ok(())
}

fn open<'obj>(
    object: &'obj mut MaybeUninit<OpenObject>,
    settings: &Settings,
    rings: &Rings,
) -> Result<OpenIostrataSkel<'obj>> {
    let mut open = IostrataSkelBuilder::default().open(object).context("cannot open the BPF object")?;
    let names: Vec<&str> = settings.programs.iter().map(|chosen| chosen.name.as_str()).collect();
    select(open.open_object_mut(), &names);
    let owners = OwnerTables::of(settings.machine_bytes);
    open.maps.inode_owners.set_max_entries(owners.inodes)?;
    open.maps.page_owners.set_max_entries(owners.page_chunks)?;
    shrink_unused(&mut open, settings)?;
    let data = open.maps.rodata_data.as_mut().ok_or_else(|| anyhow!("the BPF object has no .rodata"))?;
    data.config = settings.config;
    for group in RECORD_GROUPS {
        (group.configure)(&mut data.config, &names_of(&settings.programs, group));
    }
    data.config.page_chunks = owners.page_chunks;
    data.config.ring_shards = rings.shards;
    data.config.often_classes = rings.often_classes;
    data.config.wake_bytes = u64::from(rings.bytes) / 4;
    Ok(open)
}

/// Rings: one for each shard, or two if there are frequent and rare classes.
struct Rings {
    shards: u32,
    number: u32,
    bytes: u32,
    /// Bit set of the classes in the second rings.
    often_classes: u32,
}

impl Rings {
    fn of(settings: &Settings) -> Result<Rings> {
        let shards = crate::host::possible_cpus()?.clamp(1, 64);
        let is_split = follow_files(&settings.programs);
        let often_classes = if is_split { OFTEN.iter().map(|table| 1 << *table as u32).sum() } else { 0 };
        let number = if is_split { 2 * shards } else { shards };
        Ok(Rings { shards, number, bytes: ring_bytes(settings.ring_bytes, number), often_classes })
    }
}

/// Size of a ring: a power of two of at least a page.
fn ring_bytes(all_bytes: u64, rings: u32) -> u32 {
    let share = (all_bytes / u64::from(rings)).clamp(64 << 10, 1 << 30);
    1 << share.ilog2()
}

impl<'obj> Session<'obj> {
    /// Loads the programs, creates the rings and attaches. Events wait in the rings from then on; requests become rows only after
    /// [`Session::open`]. `before` is called when all is loaded and nothing attached.
    pub fn start(
        object: &'obj mut MaybeUninit<OpenObject>,
        settings: &Settings,
        before: &mut dyn FnMut(),
    ) -> Result<Self> {
        clear_complaints();
        let rings = Rings::of(settings)?;
        let open = open(object, settings, &rings)?;
        let skeleton = open.load().map_err(|e| match refused_program() {
            Some(program) => Refusal { why: format!("the kernel refuses {program}: {e}"), program }.into(),
            None => anyhow!("cannot load the BPF object: {e:#}"),
        })?;
        let mut session = Session {
            skeleton,
            links: Vec::new(),
            still_calling: StillCalling::default(),
            rings: Vec::new(),
            fullness: Fullness::default(),
            readings: Arc::default(),
        };
        session.make_rings(&rings)?;
        let maps = &session.skeleton.maps;
        for (dev, device_use) in &settings.devices {
            maps.devices.update(&dev.to_ne_bytes(), &device_use.0.to_ne_bytes(), MapFlags::ANY)?;
        }
        for (dev, disks) in &settings.stands_on {
            let mut lower = types::lower_disks::default();
            for (to, disk) in lower.disk.iter_mut().zip(disks) {
                *to = disk.cast_unsigned();
            }
            maps.stands_on.update(&dev.to_ne_bytes(), bytes_of(&lower), MapFlags::ANY)?;
        }
        before();
        session.attach(&settings.programs)?;
        Ok(session)
    }

    /// Creates the rings, those of rare classes first, so that they are drained first.
    fn make_rings(&mut self, &Rings { number, bytes, .. }: &Rings) -> Result<()> {
        let options =
            bpf_map_create_opts { sz: size_of::<bpf_map_create_opts>() as _, ..bpf_map_create_opts::default() };
        for place in 0..number {
            let ring = MapHandle::create(MapType::RingBuf, Some("ring"), 0, 0, bytes, &options)
                .with_context(|| format!("cannot make a ring of {bytes} bytes"))?;
            let fd = ring.as_fd().as_raw_fd();
            self.skeleton.maps.rings.update(&place.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY)?;
            self.rings.push(ring);
        }
        Ok(())
    }

    fn attach(&mut self, programs: &[Program]) -> Result<()> {
        for chosen in programs.iter().filter(|chosen| chosen.attachment() != Attachment::ByRecorder) {
            let name = &chosen.name;
            clear_complaints();
            let link = program(self.skeleton.object(), name)?.attach();
            let refusal = |e| Refusal { why: format!("cannot attach {name}: {e:#}"), program: name.clone() };
            let link = link.map_err(refusal)?;
            match chosen.attachment() {
                Attachment::Iterator => self.still_calling = StillCalling::attached(link)?,
                attachment => self.links.push((attachment == Attachment::Last, link)),
            }
        }
        Ok(())
    }

    /// Begins the rows of completed requests. `at` is called right before and after. Everything is attached by then, because attaching is
    /// slow.
    pub fn open(&mut self, at: &mut dyn FnMut(Edge)) -> Result<()> {
        at(Edge::Opening);
        self.set_opened_ns(u64::try_from(clock::monotonic_ns())?)?;
        at(Edge::Open);
        Ok(())
    }

    /// Ends the rows of completed requests. `at` is called right before and after.
    pub fn close(&mut self, at: &mut dyn FnMut(Edge)) -> Result<()> {
        at(Edge::Closing);
        self.set_opened_ns(0)?;
        at(Edge::Closed);
        Ok(())
    }

    /// Time since which completed requests become rows; 0 if they do not.
    pub fn opened_ns(&self) -> u64 {
        self.skeleton.maps.bss_data.as_ref().map_or(0, |data| data.opened_ns)
    }

    fn set_opened_ns(&mut self, opened_ns: u64) -> Result<()> {
        let data = self.skeleton.maps.bss_data.as_mut().ok_or_else(|| anyhow!("the BPF object has no .bss"))?;
        data.opened_ns = opened_ns;
        Ok(())
    }

    /// Detaches everything. The records in the rings remain.
    pub fn detach(&mut self) {
        // First the programs at the start of operations: with no program at the return, an operation would count as missed. The programs
        // that emit the rows of calls too: a call that waits for a CPU after the run-queue programs are detached would have no wait.
        self.links.retain(|(is_last, _)| *is_last);
        self.links.clear();
    }

    /// Rings, for a drain thread.
    pub fn rings(&self) -> Result<Vec<MapHandle>> {
        self.rings.iter().map(|ring| MapHandle::try_from(ring).map_err(Into::into)).collect()
    }

    /// Adds processes, by ids in the initial namespace and start times, to the recorded trees.
    pub fn add_to_tree(&self, processes: &[(u32, u64)]) -> Result<()> {
        for (pid, start_ns) in processes {
            // With a start time of 0 (unknown), the next process freed with this id is assumed to be this one.
            let known = self.skeleton.maps.tree.lookup(&pid.to_ne_bytes(), MapFlags::ANY)?.is_some();
            if !known {
                self.skeleton.maps.tree.update(&pid.to_ne_bytes(), &start_ns.to_ne_bytes(), MapFlags::ANY)?;
            }
        }
        Ok(())
    }

    /// Map of the device filter, for the classification of new file systems.
    pub fn devices(&self) -> Result<MapHandle> {
        Ok(MapHandle::try_from(&self.skeleton.maps.devices)?)
    }

    /// Disks and file systems that the selected processes used, with the time of first use by the monotonic clock; and whether the map had
    /// space for all.
    pub fn used_devices(&self) -> Result<(Vec<(i32, i64)>, bool)> {
        let map = &self.skeleton.maps.used_devices;
        let mut used = Vec::new();
        for key in map.keys() {
            let (Some(dev), Some(since)) = (read_record::<u32>(&key), map.lookup(&key, MapFlags::ANY)?) else {
                continue;
            };
            used.push((dev.cast_signed(), read_record::<u64>(&since).unwrap_or(0).cast_signed()));
        }
        let has_room = used.len() < map.max_entries() as usize;
        Ok((used, has_room))
    }

    /// I/O of a disk that an owner filter excluded.
    pub fn left_out(&self, dev: i32) -> Result<types::left_out_io> {
        let mut sum = types::left_out_io::default();
        for left_out in percpu::<types::left_out_io>(&self.skeleton.maps.left_out, &dev.to_ne_bytes())? {
            add_own(&mut sum.others, &left_out.others);
            add_own(&mut sum.before_use, &left_out.before_use);
        }
        Ok(sum)
    }

    /// Sets the sampling rate and its start.
    pub fn set_sampling(&self, sampling: &types::sampling) -> Result<()> {
        let map = &self.skeleton.maps.sampling;
        map.update(&0u32.to_ne_bytes(), bytes_of(sampling), MapFlags::ANY).context("cannot set the sampling rate")
    }

    /// CPU time of the programs, estimated from a sample of their runs that they time themselves.
    pub fn programs_ns(&self) -> Result<u64> {
        let timed_ns: u64 = percpu::<u64>(&self.skeleton.maps.timed_ns, &0u32.to_ne_bytes())?.iter().sum();
        Ok(timed_ns * u64::from(types::timing::TIMED_ONE_IN.0))
    }

    /// The recorder's own I/O on a disk.
    pub fn own_io(&self, dev: i32) -> Result<types::own_io> {
        let mut sum = types::own_io::default();
        for own in percpu::<types::own_io>(&self.skeleton.maps.own_io, &dev.to_ne_bytes())? {
            add_own(&mut sum, &own);
        }
        Ok(sum)
    }

    /// Calls without a row, by kind. Call after detaching.
    pub fn unseen(&self, words: &Words, kernel: &dyn KernelFacts) -> Result<Unseen> {
        let maps = &self.skeleton.maps;
        let mut unseen = Unseen::default();
        for (key, kind) in (0u32..).zip(&words.unseen) {
            let mut sum = types::unseen_calls::default();
            for calls in percpu::<types::unseen_calls>(&maps.unseen, &key.to_ne_bytes())? {
                sum.ops += calls.ops;
                sum.read_ops += calls.read_ops;
                sum.read_bytes = sum.read_bytes.saturating_add(calls.read_bytes);
                sum.write_ops += calls.write_ops;
                sum.write_bytes = sum.write_bytes.saturating_add(calls.write_bytes);
            }
            unseen.calls.push((*kind, sum));
        }
        for opcode in 0..maps.unknown_opcodes.max_entries() {
            let counts = percpu::<u64>(&maps.unknown_opcodes, &opcode.to_ne_bytes())?;
            let sum: u64 = counts.iter().sum();
            if sum > 0 {
                unseen.unknown_opcodes.push((opcode_name(kernel, opcode), sum));
            }
        }
        Ok(unseen)
    }

    /// Processes that serve a FUSE file system, by id and start time. Call at the end.
    pub fn servers(&self) -> Vec<types::server> {
        self.skeleton.maps.servers.keys().filter_map(|key| read_record::<types::server>(&key)).collect()
    }

    /// Checks the usage of the bounded tables with temporary entries, if a check is due. Must be called often.
    pub fn look_at_tables(&self) {
        if self.fullness.is_due() {
            self.fullness.look(self.skeleton.object().maps().filter(|map| map.map_type() == MapType::Hash));
        }
    }

    /// Usage of the bounded tables, as last checked.
    pub fn table_uses(&self) -> Vec<MapUse> {
        self.fullness.uses()
    }

    /// Usage of the bounded tables. Call before detaching.
    pub fn tables(&self) -> Vec<MapUse> {
        self.fullness.look(self.skeleton.object().maps());
        self.fullness.uses()
    }

    /// Programs that the kernel skipped because they were already running on that CPU, with the number of skips. Call before detaching.
    pub fn skipped(&self) -> Vec<(String, u64)> {
        let loaded = self.skeleton.object().progs().filter(|program| program.autoload());
        let counts = loaded.filter_map(|program| {
            let misses = told_by_kernel(program.as_fd(), "recursion_misses")?;
            Some((program.name().to_string_lossy().into_owned(), misses))
        });
        counts.filter(|(_, misses)| *misses > 0).collect()
    }
}

fn add_own(sum: &mut types::own_io, more: &types::own_io) {
    sum.read_ops += more.read_ops;
    sum.read_bytes += more.read_bytes;
    sum.write_ops += more.write_ops;
    sum.write_bytes += more.write_bytes;
    sum.discard_ops += more.discard_ops;
    sum.discard_bytes += more.discard_bytes;
}

/// Value of `name` in the fdinfo of a BPF object (`bpf_prog_show_fdinfo()`, `bpf_map_show_fdinfo()`), which is readable without
/// privileges.
fn told_by_kernel(object: BorrowedFd, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", object.as_raw_fd())).ok()?;
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(of, _)| *of == name)?;
    value.trim().parse().ok()
}

/// Loads and attaches `programs` briefly; returns the reason if that fails.
pub fn try_out(programs: &[Program]) -> Result<(), String> {
    let settings = Settings { programs: programs.to_vec(), ring_bytes: 1, ..Settings::default() };
    let mut object = MaybeUninit::uninit();
    Session::start(&mut object, &settings, &mut || {}).map(drop).map_err(|e| format!("{e:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::{process, syscall};

    #[test]
    fn maps_are_kept_by_the_programs_of_their_own_group_only() {
        let programs = process::GROUP.programs(["iostrata_exec".to_owned()]);
        assert_eq!(names_of(&programs, &process::GROUP), ["iostrata_exec"]);
        assert!(names_of(&programs, &process::TREES).is_empty() && names_of(&programs, &syscall::GROUP).is_empty());
    }
}
