//! A recording from start to end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use iostrata_capture::SCHEMA_VERSION;
use iostrata_capture::completeness;
use iostrata_capture::ledger::Skipped;
use iostrata_capture::manifest::{Clock, Device, Manifest, Server, State, Unnamed};
use iostrata_capture::message::tell;
use iostrata_capture::op::{Direction, Layer, Op};
use iostrata_capture::{ByTable, TableId};

use crate::books::{DeviceRows, EventCounts, Fate, settle};
use crate::bpf::types;
use crate::capture_dir::{Chosen, Home};
use crate::clock;
use crate::command::{Held, exit_code};
use crate::completeness_times::CompletenessTimes;
use crate::decode::Decoder;
use crate::device_check::DeviceWitness;
use crate::device_filter::DeviceFilter;
use crate::drain::{Drained, Draining};
use crate::groups::{block, syscall};
use crate::heap::MemoryTrimmer;
use crate::here::{self, Here};
use crate::host::places::Places;
use crate::host::{self, cgroups, devices, mounts};
use crate::intake::{Filtering, Intake};
use crate::kernel_facts::{KernelFacts, VmlinuxBtf};
use crate::levels::Levels;
use crate::limits;
use crate::losses::Losses;
use crate::options::Record;
use crate::outputs::{self, Outputs};
use crate::plan::{self, Plan};
use crate::privacy::Redaction;
use crate::privilege;
use crate::process_io::ProcessIo;
use crate::readings::{self, ReadingThread};
use crate::sampling::{RateController, Rates};
use crate::selection;
use crate::self_telemetry::SelfTelemetry;
use crate::service::Service;
use crate::session::{self, Session, Settings};
use crate::signals;
use crate::sink::live::{Showing, Shown};
use crate::sink::{Size, Totals};
use crate::socket::Socket;
use crate::unfinished::{self, Idle, Left, Settled};
use crate::watch::Watch;
use crate::without_row::{self, InTables, at_most};

/// Outcome of a recording.
pub struct Outcome {
    /// The final manifest.
    pub manifest: Manifest,
    /// Size of the finished parts.
    pub size: Size,
    /// Exit code of the recorded command.
    pub command: Option<u8>,
    /// First error of the writer.
    pub error: Option<String>,
    /// Row counts of the live view.
    pub live: Option<Shown>,
}

/// All settings except the programs, which the plan chooses.
fn settings(
    options: &Record,
    kernel: &dyn KernelFacts,
    op_words: &[String],
    here: &Here,
    places: Option<&mut Places>,
) -> Result<Settings> {
    Ok(Settings {
        programs: Vec::new(),
        config: config(options, kernel, op_words, here)?,
        ring_bytes: options.memory.ring_bytes,
        stands_on: if places.is_none() && options.manifest_filters().by_owner() {
            selection::stands_on()
        } else {
            Vec::new()
        },
        devices: places.map(|places| selection::device_uses(&options.filter.devices, places)).unwrap_or_default(),
        machine_bytes: host::memory_bytes(),
    })
}

fn config(options: &Record, kernel: &dyn KernelFacts, op_words: &[String], here: &Here) -> Result<types::config> {
    let filter = &options.filter;
    let (rqf_flush_seq_bit, rqf_io_stat_bit) = block::request_flag_bits(kernel);
    let mut config = types::config {
        recorder_pid: here.pid,
        filter_pid: u32::from(options.command.is_some() || !filter.pids.is_empty()),
        filter_device: filter.devices.first().map_or(0, |device| device.dev as u32),
        counts_dirty: u32::from(options.command.is_some()),
        min_latency_ns: options.min_latency.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        names_files: u32::from(options.live.as_ref().is_some_and(|live| live.form.has_files())),
        rqf_flush_seq_bit,
        rqf_io_stat_bit,
        samples: u32::from(options.cpu_limit_percent.is_some()),
        // A different seed at each start.
        sampling_seed: clock::monotonic_ns().cast_unsigned(),
        cgroup_root: mounts::cgroup2().and_then(|root| cgroups::id_of(Path::new(&root))).unwrap_or(0),
        ..types::config::default()
    };
    if let Some(cgroup) = &filter.cgroup {
        config.filter_cgroup = 1;
        config.cgroup_id = cgroup.id;
        config.cgroup_level = cgroup.level(here.cgroup_level).map_err(|why| anyhow!(why))?;
    }
    if options.command.is_some() {
        // The launcher's own exec comes first, then the command's.
        config.command_exec_id = here.exec_id + 2;
    }
    if let Some(comm) = &filter.comm {
        config.filter_comm = 1;
        for (to, from) in config.comm.iter_mut().zip(comm.bytes().take(15)) {
            *to = from as i8;
        }
    }
    block::configure_makers(&mut config);
    syscall::configure_numbers(&mut config, op_words);
    Ok(config)
}

fn manifest(options: &Record, plan: &Plan, clock: Clock) -> Result<Manifest> {
    Ok(Manifest {
        schema_version: SCHEMA_VERSION,
        parts_id: None,
        continues: None,
        capture_id: host::line("/proc/sys/kernel/random/uuid"),
        state: State::Recording,
        started_at: chrono::Utc::now().to_rfc3339(),
        stopped_at: None,
        stop_reason: None,
        recorder_version: env!("CARGO_PKG_VERSION").to_owned(),
        privacy: options.privacy,
        run_queue: options.run_queue,
        whole_until_ns: None,
        command_line: std::env::args().collect(),
        host: host::describe()?,
        clock,
        layers: plan.layers.iter().cloned().collect(),
        groups: BTreeMap::new(),
        probes: plan.probes.clone(),
        filters: options.manifest_filters(),
        filtered: Some(selection::at_start(options)),
        devices: devices::all(),
        mounts: mounts::all(),
        books: Default::default(),
        sampling: None,
        device_books: Vec::new(),
        process_counters: None,
        servers: Vec::new(),
        maps: Vec::new(),
    })
}

/// Devices with recorded requests.
fn recorded_devices(options: &Record) -> Vec<Device> {
    if options.filter.devices.is_empty() { devices::all() } else { options.filter.devices.clone() }
}

/// Devices with all requests recorded, so that the kernel's counters must match; none under a filter that leaves out requests.
fn whole_devices(options: &Record) -> Vec<Device> {
    let filters = options.manifest_filters();
    if !options.layers.contains(&Layer::Block) || filters.by_owner() || filters.min_latency_ns.is_some() {
        return Vec::new();
    }
    recorded_devices(options)
}

/// Records until the duration, a signal or the end of the command.
pub fn run(options: &Record) -> Result<Outcome> {
    session::quiet_libbpf();
    let caught = signals::catch()?;
    let kernel = VmlinuxBtf::load()?;
    let here = here::look().context("cannot determine the recorder's namespaces").map_err(limits::explain)?;
    clock::set_ahead_ns(here.monotonic_offset_ns);
    let chosen = options.out.as_deref().map(|out| Chosen::choose(out, options.resume)).transpose()?;

    let words = session::words()?;
    let mut places = selection::places(options, &here);
    let settings = settings(options, &kernel, &words.ops, &here, places.as_mut())?;
    // Everything created here is removed again, unless the recording begins.
    let mut home = chosen.map(|chosen| chosen.make(&readings::tables(options))).transpose()?;
    let out = home.as_ref().map(|home| home.directory.clone());
    let out = out.as_ref();
    let mut witness = DeviceWitness::of(whole_devices(options));
    let mut objects = plan::objects();
    let mut process_io = options.layers.contains(&Layer::Syscall).then(ProcessIo::load);
    let mut before = || process_io.iter_mut().for_each(ProcessIo::start);
    let started = plan::start(options, &kernel, &mut objects, &settings, &mut before);
    let (plan, mut session) = started?;
    let (groups, mut running) = readings::start(options, &kernel, &words)?;
    // With the fork program attached, so that no new child is missed.
    let trees = if options.filter.pids.is_empty() { Vec::new() } else { here.trees(&options.filter.pids)? };
    session.add_to_tree(&trees)?;
    limits::check_files()?;
    session.open(&mut |edge| witness.at(edge))?;
    let opened_ns = session.opened_ns();
    let clock = clock::start();
    running.iter_mut().try_for_each(|group| group.begin(clock.offset_ns))?;
    let held = options.command.as_deref().map(Held::start).transpose()?;
    let writer = home.as_ref().and_then(|home| home.writer);
    let socket = home.as_ref().map(|home| Socket::make(&home.root, writer)).transpose();
    let socket = socket.inspect_err(|error| tell(&format!("iostrata: {error:#}; `iostrata status` will not work\n")));
    let socket = socket.unwrap_or_default();
    // The capture may belong to another user, although this segment of it does not.
    privilege::give_up(writer, home.as_ref().map(|home| &home.root), held.is_some())?;
    let (teller, told) = caught.listen()?;
    let listening = socket.as_ref().map(|socket| socket.listen(teller.clone())).transpose();
    if let Err(error) = listening {
        tell(&format!("iostrata: {error:#}; `iostrata status` will not work\n"));
    }

    let veil = Redaction::new(options.privacy)?;
    let mut manifest = manifest(options, &plan, clock)?;
    manifest.groups = groups;
    manifest.parts_id = Some(manifest.capture_id.clone());
    veil.cover(&mut manifest);
    manifest.continues = home.as_ref().and_then(|home| home.continues.clone());
    // Before any other file: if there is no space for the manifest, nothing remains of this start.
    let unnamed = out.map(|out| manifest.prepare(out)).transpose()?;
    let totals = Arc::new(Totals::default());
    let rates = Rates::default();
    let losses = Arc::new(Losses::default());
    let began_ns = manifest.clock.offset_ns.saturating_add_unsigned(opened_ns);
    let outputs = Outputs::start(options, (home.as_ref(), &manifest.capture_id, began_ns), (&totals, &losses), teller);
    let (sink, Outputs { keeper, own, live }) = outputs?;
    let chronicle = (Arc::clone(&losses), session.shared_accounts()?);
    let counting = (Arc::clone(&totals), session.readings());
    let reading = ReadingThread::start(running, own.clone(), counting, (options.interval, manifest.clock.offset_ns))?;
    let filtering = Filtering {
        devices: places
            .map(|places| Ok::<_, anyhow::Error>(DeviceFilter::new(places, session.devices()?)))
            .transpose()?,
        by_owner: manifest.filters.by_owner(),
        opened_ns,
    };
    let decoder =
        Decoder::new(manifest.clock.offset_ns, &words, veil, options.cpu_limit_percent.map(|_| rates.clone()))?;
    let intake = Intake::new(decoder, filtering, Levels::new(&manifest.devices), Arc::clone(&losses));
    let draining = Draining::start(
        session.rings()?,
        intake,
        sink,
        outputs::pace(options),
        (session.gathering()?, CompletenessTimes::start(session.barrier()?)?),
        SelfTelemetry::start(own, chronicle, (&manifest.clock, began_ns), Arc::clone(&totals)),
        MemoryTrimmer::beyond(options.memory.thrift_bytes),
        Arc::clone(&totals),
    )?;
    unnamed.map_or(Ok(()), Unnamed::publish)?;
    home.iter_mut().for_each(Home::begin);

    let (child, _child_end) = held.map(Held::release).transpose()?.unzip();
    let disks = recorded_devices(options);
    let mut service = Service::start();
    let governor = |percent| RateController::start(percent, &session, rates, Arc::clone(&totals.sampling));
    let governor = options.cpu_limit_percent.map(governor).transpose()?;
    let mut watch = Watch {
        options,
        disks: &disks,
        told: &told,
        totals: &totals,
        session: &session,
        losses: &losses,
        service: &mut service,
        governor,
        capture_id: &manifest.capture_id,
        started: Instant::now(),
    };
    let (reason, status) = watch.until_end(child)?;
    let sampling = watch.governor.as_ref().map(RateController::summary);
    service.stop();

    let skipped = skipped(&session, &plan);
    manifest.maps = session.tables();
    // The current disks: one may have been added during the recording.
    let idle = unfinished::idle_disks(&devices::all());
    thread::sleep(unfinished::COMPLETING);
    session.count_still_calling()?;
    session.close(&mut |edge| witness.at(edge))?;
    reading.map(ReadingThread::finish).transpose()?;
    session.detach();
    manifest.process_counters = process_io.map(|io| io.finish(manifest.clock.offset_ns));
    let mut left = left(&session, &idle, opened_ns, &words.ops)?;
    let requests = std::mem::take(&mut left.rows);
    let Drained { unmapped, earlier } = draining.finish(requests)?;
    manifest.filtered = Some(selection::at_end(options, &manifest, &session, &totals, unmapped)?);
    let written = keeper.finish()?;
    let mut fates = written.written.map(|written| Fate { written, ..Fate::default() });
    (fates[TableId::Block].late, fates[TableId::Block].unknown) = (left.ended, left.unknown_io);
    fates[TableId::Share].late = left.shares;
    let accounts = session.accounts()?;
    manifest.books = settle(&accounts, &fates, &losses, skipped, &left);
    let (calls, under_way) = (&accounts[TableId::Syscall], in_tables(&session, &words.ops)?);
    without_row::settle(&mut manifest.books, calls, session.unseen(&words, &kernel)?, &under_way);
    manifest.books.incomplete.earlier_io = earlier;
    manifest.books.tables = session.owner_tables()?;
    manifest.sampling = sampling;
    manifest.servers = servers(&session, &manifest);
    // Weighted rows are estimates and cannot be compared with the kernel's counters.
    if manifest.greatest_weight() == 1 && manifest.layers.get(&Layer::Block).is_some_and(|state| state.captured) {
        for device in witness.missing() {
            tell(&format!(
                "iostrata: {device}: was removed during the recording; not checked against kernel counters\n"
            ));
        }
        let own = |dev| session.own_io(dev).map(|seen| left.with_own(dev, seen));
        manifest.device_books = witness.settle((|dev| rows_of(&fates, dev), &left.moved), own)?;
    }
    manifest.clock.pairs.push(clock::pair());
    manifest.state = State::Complete;
    manifest.stopped_at = Some(chrono::Utc::now().to_rfc3339());
    manifest.stop_reason = Some(reason);
    let unwritten = out.and_then(|out| manifest.write(out).err());
    if let Some(error) = &unwritten {
        tell(&format!("iostrata: {error:#}; repair the capture with `iostrata-analyze recover`\n"));
    }
    if let (Some(out), None) = (out, &unwritten) {
        completeness::remove(out);
    }
    let error = written.error.or(unwritten.map(|error| format!("{error:#}")));
    // Last, because it may take a while: the capture is finished.
    let live = live.map(Showing::finish);
    Ok(Outcome { manifest, size: written.size, command: status.map(exit_code), error, live })
}

/// FUSE servers, with ids as in the table `process`.
fn servers(session: &Session, manifest: &Manifest) -> Vec<Server> {
    let named = |server: types::server| Server {
        pid: server.pid as i32,
        start_ns: (server.start_ns as i64).saturating_add(manifest.clock.offset_ns),
    };
    session.servers().into_iter().map(named).collect()
}

fn skipped(session: &Session, plan: &Plan) -> Vec<Skipped> {
    let named = |(program, recursion): (String, u64)| {
        let class = plan.group_of(&program).map_or("", |group| group.name).to_owned();
        Skipped { class, program, recursion }
    };
    session.skipped().into_iter().map(named).collect()
}

/// Calls and operations that had not completed.
fn in_tables(session: &Session, op_words: &[String]) -> Result<InTables> {
    let mut left = InTables { asyncs: session.unfinished_async()?, ..InTables::default() };
    let (calls, targets) = session.unfinished_calls()?;
    left.calls = calls.len() as u64;
    for call in calls.iter().chain(&targets) {
        left.calls_io.add(&at_most(direction_of(op_words, call.op), call.requested_bytes));
    }
    Ok(left)
}

fn direction_of(op_words: &[String], op: u8) -> Option<Direction> {
    Op::parse(op_words.get(usize::from(op))?)?.direction()
}

/// Outcome of requests without a completion event.
fn left(session: &Session, idle: &[Idle], opened_ns: u64, op_words: &[String]) -> Result<Settled> {
    let with_parts = |request| Ok((request, session.parts_of(&request)?));
    let requests = session.unfinished()?.into_iter().map(with_parts).collect::<Result<_>>()?;
    let left = Left { requests, flushes: session.unfinished_flushes(opened_ns)? };
    Ok(unfinished::settle(&left, idle, |op| direction_of(op_words, op)))
}

fn rows_of(fates: &ByTable<Fate>, dev: i32) -> DeviceRows {
    let mut sum = EventCounts::default();
    for fate in fates.values() {
        sum.add(&fate.written);
    }
    sum.devices.remove(&dev).unwrap_or_default()
}
