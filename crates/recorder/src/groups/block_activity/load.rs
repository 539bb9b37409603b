//! Choice, loading and attaching of the programs.

use std::mem::MaybeUninit;

use anyhow::{Context, Result, anyhow, ensure};
use iostrata_capture::op::{IoClass, Op};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::skeleton::{self, types};
use super::{Activity, Counted, Detail};
use crate::clock;
use crate::groups::block::makers;
use crate::groups::block_latency::Latency;
use crate::groups::readings::{Lost, Start, attach, select};

/// Maximum number of sums of an interval.
pub const MOST_SUMS: u32 = types::table_size::MAX_SUMS.0;

/// Origin of a path that begins at the root of its file system.
const WHOLE: &str = "filesystem";

/// Programs for this kernel, in the order in which they are attached.
struct Programs {
    names: Vec<&'static str>,
    /// Owners are found by the first bio of a request.
    finds_by_bio: bool,
}

fn programs(with: &Start, counted: &Counted) -> Result<Programs> {
    let arguments = |name: &str| with.kernel.tracepoint_arguments(name);
    let mut names = Vec::new();
    if !counted.filter.pids.is_empty() {
        ensure!(arguments("sched_process_fork") == Some(2), "the kernel has no tracepoint sched_process_fork");
        names.extend(["block_activity_free", "block_activity_fork"]);
    }
    names.push(match (arguments("writeback_dirty_folio"), arguments("writeback_dirty_page")) {
        (Some(2), _) => "block_activity_dirty_folio",
        (_, Some(2)) => "block_activity_dirty_page",
        _ => return Err(anyhow!("the kernel has no tracepoint writeback_dirty_folio")),
    });
    ensure!(arguments("block_rq_complete") == Some(3), "the kernel has no tracepoint block_rq_complete");
    let finds_by_bio = arguments("block_io_start") != Some(1);
    if finds_by_bio {
        names.push(match arguments("block_getrq") {
            Some(1) => "block_activity_getrq",
            Some(3) => "block_activity_getrq_q",
            _ => return Err(anyhow!("the kernel has no tracepoint block_getrq")),
        });
    } else {
        if arguments("block_rq_merge") == Some(1) {
            names.push("block_activity_merged");
        }
        names.push("block_activity_queued");
    }
    if finds_by_bio || counted.latency == Latency::D2c {
        names.push(match arguments("block_rq_issue") {
            Some(1) => "block_activity_issue",
            Some(2) => "block_activity_issue_q",
            _ => return Err(anyhow!("the kernel has no tracepoint block_rq_issue")),
        });
    }
    names.push("block_activity_complete");
    Ok(Programs { names, finds_by_bio })
}

/// Sets the constants of the programs.
fn configure(data: &mut types::rodata, with: &Start, counted: &Counted, programs: &Programs) -> Result<()> {
    data.selects_disks = u32::from(!with.devices.is_empty());
    data.from_queueing = u32::from(counted.latency == Latency::Q2c);
    data.finds_by_bio = u32::from(programs.finds_by_bio);
    let filter = counted.filter;
    data.filters_pid = u32::from(!filter.pids.is_empty());
    if let Some(cgroup) = &filter.cgroup {
        data.filters_cgroup = 1;
        data.cgroup_id = cgroup.id;
        data.cgroup_level = cgroup.level(counted.here.cgroup_level).map_err(|why| anyhow!(why))?;
    }
    if let Some(comm) = &filter.comm {
        data.filters_comm = 1;
        data.comm.iter_mut().zip(comm.bytes()).for_each(|(to, byte)| *to = byte.cast_signed());
    }
    let known = makers::addresses();
    for (entry, (address, maker)) in data.makers.known.iter_mut().zip(known.makers) {
        *entry = types::known_maker { address, maker };
    }
    data.makers.journal_ends.iter_mut().zip(known.journal_ends).for_each(|(entry, address)| *entry = address);
    Ok(())
}

pub fn start(with: &Start, counted: &Counted) -> Result<Activity> {
    let programs = programs(with, counted)?;
    let mut object = MaybeUninit::uninit();
    let mut open =
        skeleton::BlockActivitySkelBuilder::default().open(&mut object).context("cannot open the BPF object")?;
    select(open.open_object_mut(), &programs.names);
    let data = open.maps.rodata_data.as_mut().ok_or_else(|| anyhow!("the BPF object has no .rodata"))?;
    configure(data, with, counted, &programs)?;
    open.maps.disks.set_max_entries(with.devices.len().max(1) as u32)?;
    if counted.most_detail < Detail::Files {
        open.maps.file_names.set_max_entries(1)?;
    }
    if !programs.finds_by_bio {
        open.maps.new_bios.set_max_entries(1)?;
    }
    let mut skeleton = open.load().context("the kernel refuses the programs")?;
    let maps = &skeleton.maps;
    for dev in &with.devices {
        maps.disks.update(&dev.to_ne_bytes(), &1u32.to_ne_bytes(), MapFlags::ANY)?;
    }
    let links = attach(skeleton.object(), &programs.names)?;
    let maps = &skeleton.maps;
    // After the program at forks is attached: no child is missed.
    if !counted.filter.pids.is_empty() {
        for (pid, _) in counted.here.trees(&counted.filter.pids)? {
            maps.selected.update(&pid.to_ne_bytes(), &1u32.to_ne_bytes(), MapFlags::ANY)?;
        }
    }
    let activity = Activity {
        _links: links,
        in_use: MapHandle::try_from(&maps.activities)?,
        tables: [MapHandle::try_from(&maps.activity_first)?, MapHandle::try_from(&maps.activity_second)?],
        processes: MapHandle::try_from(&maps.processes)?,
        files: MapHandle::try_from(&maps.file_names)?,
        detail: MapHandle::try_from(&maps.detail_wanted)?,
        losses: MapHandle::try_from(&maps.request_losses)?,
        lost: Lost::default(),
        ops: with.words.ops.iter().map(|word| Op::parse(word)).collect(),
        classes: with.words.io_classes.iter().map(|word| IoClass::parse(word)).collect(),
        whole_origin: with.words.path_origins.iter().position(|word| word == WHOLE),
    };
    activity.set_detail(counted.detail)?;
    let data = skeleton.maps.bss_data.as_mut().ok_or_else(|| anyhow!("the BPF object has no .bss"))?;
    data.attached_ns = clock::monotonic_ns().cast_unsigned();
    Ok(activity)
}
