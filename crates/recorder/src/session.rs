//! A loaded and attached set of kernel programs, with its maps.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use iostrata_capture::manifest::MapUse;
use iostrata_capture::message::tell_all;
use libbpf_rs::libbpf_sys::bpf_map_create_opts;
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, MapType, OpenObject, PrintLevel};

use crate::bpf::{IostrataSkel, IostrataSkelBuilder, OpenIostrataSkel, Record, bytes_of, read_record, types};
use crate::classes::OFTEN;
use crate::clock;
use crate::fullness::Fullness;
use crate::probes::{KernelFacts, is_of_run_queue, is_return, misses_returns, opcode_name, told_writes};
use crate::unseen::Unseen;

mod accounts;
mod barrier;
mod earlier;
mod gathering;
mod left;
mod owners;
mod words;

pub use accounts::{Accounts, SharedAccounts};
pub use barrier::Barrier;
pub use earlier::STILL_CALLING;
use earlier::StillCalling;
pub use gathering::{Gathering, is_run_by_recorder};
use owners::OwnerTables;
pub use words::{Words, words};

/// What is set before the programs are loaded.
#[derive(Clone, Default)]
pub struct Settings {
    /// The programs to load and attach, in this order.
    pub programs: Vec<String>,
    /// Configuration of the kernel side.
    pub config: types::config,
    /// All rings together.
    pub ring_bytes: u64,
    /// With a device filter: what it says of disks, partitions and mounted file systems.
    pub devices: Vec<(i32, types::device_use)>,
    /// With an owner filter: the disks that a disk or a file system stands on.
    pub stands_on: Vec<(i32, Vec<i32>)>,
    /// The machine's memory, by which the tables of dirty pages' owners are made; as small as can be where it is 0.
    pub machine_bytes: u64,
}

/// libbpf's last complaints, for the reason of a failure.
static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps libbpf's messages instead of letting them onto the terminal.
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

/// Which program the kernel refused last, by libbpf's complaint `prog 'NAME': BPF program load failed: …`.
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

/// A program that the kernel does not let us run.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// The program.
    pub program: String,
    /// In one line.
    pub why: String,
}

/// Moments at which it changes whether rows are made of requests that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The last instant in which none are.
    Opening,
    /// They are.
    Open,
    /// The last instant in which they are.
    Closing,
    /// None are any more.
    Closed,
}

/// Loaded programs; detached when dropped.
pub struct Session<'obj> {
    skeleton: IostrataSkel<'obj>,
    /// In the order in which they were attached; whether each is needed until nothing begins any more.
    links: Vec<(bool, Link)>,
    still_calling: StillCalling,
    rings: Vec<MapHandle>,
    fullness: Fullness,
}

/// Whether there are programs for layers of operations on files, and not only for requests.
fn follow_files(programs: &[String]) -> bool {
    let has = |part: &str| programs.iter().any(|p| p.contains(part));
    has("sys_enter") || has("vfs_") || has("fs_fill")
}

/// Maps that only a filter or one layer's programs use: one entry is enough where there is none.
fn shrink_unused(open: &mut OpenIostrataSkel, Settings { programs, config, .. }: &Settings) -> Result<()> {
    let has = |part: &str| programs.iter().any(|p| p.contains(part));
    if config.filter_device == 0 {
        open.maps.devices.set_max_entries(1)?;
    }
    if config.filter_pid == 0 {
        open.maps.tree.set_max_entries(1)?;
    }
    if config.filter_pid == 0 && config.filter_cgroup == 0 && config.filter_comm == 0 {
        open.maps.stands_on.set_max_entries(1)?;
        open.maps.used_devices.set_max_entries(1)?;
        open.maps.left_out.set_max_entries(1)?;
    }
    if !has("sys_enter") {
        open.maps.calls.set_max_entries(1)?;
        open.maps.callers.set_max_entries(1)?;
        open.maps.under_way.set_max_entries(1)?;
        open.maps.crowded_async.set_max_entries(1)?;
    }
    if config.run_queue == 0 {
        open.maps.cpu_waits.set_max_entries(1)?;
    }
    if !has("vfs_") {
        open.maps.vfs_ops.set_max_entries(1)?;
    }
    if !has("fs_fill") {
        open.maps.fs_slots.set_max_entries(1)?;
        open.maps.fs_calls.set_max_entries(1)?;
        open.maps.last_faults.set_max_entries(1)?;
    }
    if !follow_files(programs) {
        open.maps.named.set_max_entries(1)?;
    }
    if !has("block_") {
        open.maps.part_lists.set_max_entries(1)?;
        open.maps.requests.set_max_entries(1)?;
        open.maps.places.set_max_entries(1)?;
        open.maps.crowded.set_max_entries(1)?;
        open.maps.inode_owners.set_max_entries(1)?;
        open.maps.page_owners.set_max_entries(1)?;
        open.maps.writers.set_max_entries(1)?;
        open.maps.queued.set_max_entries(1)?;
        open.maps.bios.set_max_entries(1)?;
    }
    Ok(())
}

fn open<'obj>(
    object: &'obj mut MaybeUninit<OpenObject>,
    settings: &Settings,
    rings: &Rings,
) -> Result<OpenIostrataSkel<'obj>> {
    let mut open = IostrataSkelBuilder::default().open(object).context("cannot open the BPF object")?;
    for mut program in open.open_object_mut().progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        program.set_autoload(settings.programs.contains(&name));
    }
    let owners = OwnerTables::of(settings.machine_bytes);
    open.maps.inode_owners.set_max_entries(owners.inodes)?;
    open.maps.page_owners.set_max_entries(owners.page_chunks)?;
    shrink_unused(&mut open, settings)?;
    let data = open.maps.rodata_data.as_mut().ok_or_else(|| anyhow!("the BPF object has no .rodata"))?;
    data.config = settings.config;
    data.config.follows_calls = u32::from(settings.programs.iter().any(|program| program.contains("fs_fill")));
    data.config.misses_returns = u32::from(misses_returns(&settings.programs));
    data.config.page_chunks = owners.page_chunks;
    data.config.told_writes = told_writes(&settings.programs);
    data.config.ring_shards = rings.shards;
    data.config.often_classes = rings.often_classes;
    data.config.wake_bytes = u64::from(rings.bytes) / 4;
    Ok(open)
}

/// The rings: one for each shard, and a second one for each where there are classes of both kinds.
struct Rings {
    shards: u32,
    number: u32,
    bytes: u32,
    /// Bits: the classes that have the second ones.
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

/// A ring's size is a power of two and at least a page.
fn ring_bytes(all_bytes: u64, rings: u32) -> u32 {
    let share = (all_bytes / u64::from(rings)).clamp(64 << 10, 1 << 30);
    1 << share.ilog2()
}

impl<'obj> Session<'obj> {
    /// Loads the programs, makes the rings and attaches. What is seen from now on waits in the rings; of requests nothing is made
    /// before [`Session::open`]. `before` is told when all is loaded and nothing attached.
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

    /// Those of what comes seldom first, so that they are emptied first.
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

    fn attach(&mut self, programs: &[String]) -> Result<()> {
        for name in programs.iter().filter(|name| !is_run_by_recorder(name)) {
            clear_complaints();
            let program = self.skeleton.object().progs_mut().find(|p| p.name().to_string_lossy() == *name);
            let program = program.ok_or_else(|| anyhow!("there is no program {name}"))?;
            let link = program.attach();
            let refusal = |e| Refusal { why: format!("cannot attach {name}: {e:#}"), program: name.clone() };
            let link = link.map_err(refusal)?;
            if name == STILL_CALLING {
                self.still_calling = StillCalling::attached(link)?;
            } else {
                self.links.push((is_return(name) || is_of_run_queue(name), link));
            }
        }
        Ok(())
    }

    /// From now on requests that end become rows. `at` is told right before and after. All is attached by then, which takes long.
    pub fn open(&mut self, at: &mut dyn FnMut(Edge)) -> Result<()> {
        at(Edge::Opening);
        self.set_opened_ns(u64::try_from(clock::monotonic_ns())?)?;
        at(Edge::Open);
        Ok(())
    }

    /// Requests that end become no rows any more. `at` is told right before and after.
    pub fn close(&mut self, at: &mut dyn FnMut(Edge)) -> Result<()> {
        at(Edge::Closing);
        self.set_opened_ns(0)?;
        at(Edge::Closed);
        Ok(())
    }

    /// Since when requests that end become rows; 0 where they do not.
    pub fn opened_ns(&self) -> u64 {
        self.skeleton.maps.bss_data.as_ref().map_or(0, |data| data.opened_ns)
    }

    fn set_opened_ns(&mut self, opened_ns: u64) -> Result<()> {
        let data = self.skeleton.maps.bss_data.as_mut().ok_or_else(|| anyhow!("the BPF object has no .bss"))?;
        data.opened_ns = opened_ns;
        Ok(())
    }

    /// Detaches everything. What is in the rings stays there.
    pub fn detach(&mut self) {
        // First what begins operations: one whose return nobody is there to see would pass for one that was missed. And what makes rows of
        // calls: one that waits for a CPU when nobody looks any more would seem not to have waited.
        self.links.retain(|(is_last, _)| *is_last);
        self.links.clear();
    }

    /// The rings, for a drain thread.
    pub fn rings(&self) -> Result<Vec<MapHandle>> {
        self.rings.iter().map(|ring| MapHandle::try_from(ring).map_err(Into::into)).collect()
    }

    /// Adds processes, by their ids in the initial namespace and start times, to the recorded trees.
    pub fn add_to_tree(&self, processes: &[(u32, u64)]) -> Result<()> {
        for (pid, start_ns) in processes {
            // A start time of 0: whatever frees this process id next is this process.
            let known = self.skeleton.maps.tree.lookup(&pid.to_ne_bytes(), MapFlags::ANY)?.is_some();
            if !known {
                self.skeleton.maps.tree.update(&pid.to_ne_bytes(), &start_ns.to_ne_bytes(), MapFlags::ANY)?;
            }
        }
        Ok(())
    }

    /// The map of what the device filter says, for whoever classifies file systems as they appear.
    pub fn devices(&self) -> Result<MapHandle> {
        Ok(MapHandle::try_from(&self.skeleton.maps.devices)?)
    }

    /// Disks and file systems that the selected processes used, and since when by the monotonic clock; whether there was room for all.
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

    /// What an owner filter left out of a disk's requests.
    pub fn left_out(&self, dev: i32) -> Result<types::left_out_io> {
        let mut sum = types::left_out_io::default();
        for left_out in percpu::<types::left_out_io>(&self.skeleton.maps.left_out, &dev.to_ne_bytes())? {
            add_own(&mut sum.others, &left_out.others);
            add_own(&mut sum.before_use, &left_out.before_use);
        }
        Ok(sum)
    }

    /// From when how much is recorded.
    pub fn set_sampling(&self, sampling: &types::sampling) -> Result<()> {
        let map = &self.skeleton.maps.sampling;
        map.update(&0u32.to_ne_bytes(), bytes_of(sampling), MapFlags::ANY).context("cannot set what is recorded")
    }

    /// CPU time that the programs have taken, as far as they time themselves: from a sample of their runs.
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

    /// Calls that have no row, by why. To be asked after detaching.
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

    /// Processes that serve a FUSE file system, by id and start. To be asked at the end.
    pub fn servers(&self) -> Vec<types::server> {
        self.skeleton.maps.servers.keys().filter_map(|key| read_record::<types::server>(&key)).collect()
    }

    /// Looks how full those bounded tables are whose entries come and go, if it was long ago. To be called often.
    pub fn look_at_tables(&self) {
        if self.fullness.is_due() {
            self.fullness.look(self.skeleton.object().maps().filter(|map| map.map_type() == MapType::Hash));
        }
    }

    /// How full the bounded tables were. To be asked before detaching.
    pub fn tables(&self) -> Vec<MapUse> {
        self.fullness.look(self.skeleton.object().maps());
        self.fullness.uses()
    }

    /// Programs that the kernel skipped because they were already running on that CPU, and how often. To be asked
    /// before detaching.
    pub fn skipped(&self) -> Vec<(String, u64)> {
        let loaded = self.skeleton.object().progs().filter(|program| program.autoload());
        let counts = loaded.filter_map(|program| {
            let misses = told_by_kernel(program.as_fd(), "recursion_misses")?;
            Some((program.name().to_string_lossy().into_owned(), misses))
        });
        counts.filter(|(_, misses)| *misses > 0).collect()
    }
}

/// What a map has under `key`, by CPU.
fn percpu<T: Record>(map: &impl MapCore, key: &[u8]) -> Result<Vec<T>> {
    let values = map.lookup_percpu(key, MapFlags::ANY)?.unwrap_or_default();
    values.iter().map(|v| read_record(v).ok_or_else(|| anyhow!("short value in {:?}", map.name()))).collect()
}

fn add_own(sum: &mut types::own_io, more: &types::own_io) {
    sum.read_ops += more.read_ops;
    sum.read_bytes += more.read_bytes;
    sum.write_ops += more.write_ops;
    sum.write_bytes += more.write_bytes;
    sum.discard_ops += more.discard_ops;
    sum.discard_bytes += more.discard_bytes;
}

/// What the kernel tells of an object of ours by `name` (`bpf_prog_show_fdinfo()`, `bpf_map_show_fdinfo()`), which it does without
/// any privilege.
fn told_by_kernel(object: BorrowedFd, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", object.as_raw_fd())).ok()?;
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(of, _)| *of == name)?;
    value.trim().parse().ok()
}

/// Loads and attaches `programs` for a moment; why not, where it does not work.
pub fn try_out(programs: &[String]) -> Result<(), String> {
    let settings = Settings { programs: programs.to_vec(), ring_bytes: 1, ..Settings::default() };
    let mut object = MaybeUninit::uninit();
    Session::start(&mut object, &settings, &mut || {}).map(drop).map_err(|e| format!("{e:#}"))
}
