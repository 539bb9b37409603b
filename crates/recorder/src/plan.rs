//! Choice of the BPF programs of a recording, and the resulting state of each layer.

use std::mem::MaybeUninit;

use anyhow::{Result, anyhow, bail};
use iostrata_capture::manifest::{LayerState, Probe};
use iostrata_capture::op::Layer;
use libbpf_rs::OpenObject;

use crate::groups::{Attachment, Program, RecordGroup, Variant, choose, process, run_queue, syscall};
use crate::kernel_facts::KernelFacts;
use crate::limits;
use crate::options::Record;
use crate::session::{Refusal, Session, Settings};

/// Maximum number of load attempts: one for each method to capture each layer, and the one that works.
const ATTEMPTS: usize = 8;

/// Storage for libbpf's object of each attempt.
pub type Objects = [MaybeUninit<OpenObject>; ATTEMPTS];

/// Creates the storage for all attempts.
pub fn objects() -> Objects {
    [const { MaybeUninit::uninit() }; ATTEMPTS]
}

/// A choice of programs.
pub struct Plan {
    /// Programs to load and attach, in this order.
    pub programs: Vec<Program>,
    /// State of each layer.
    pub layers: Vec<(Layer, LayerState)>,
    /// Programs and layers, as named in the manifest.
    pub probes: Vec<Probe>,
}

impl Plan {
    /// Makes the best choice for this kernel, without the variants that `works` refuses.
    fn make(
        options: &Record,
        kernel: &dyn KernelFacts,
        works: &mut dyn FnMut(&Variant) -> Result<(), String>,
    ) -> Result<Plan> {
        let mut works = |variant: &Variant| match options.avoid.iter().find(|avoided| variant.uses(avoided)) {
            Some(avoided) => Err(format!("{avoided} is excluded by --avoid")),
            None => works(variant),
        };
        let mut plan = Plan { programs: Vec::new(), layers: Vec::new(), probes: Vec::new() };
        let mut need = |group: &'static RecordGroup, purpose: &str| {
            let variant = choose(group, kernel, &mut works).map_err(|why| anyhow!("{purpose}: {why}"))?;
            plan.programs.extend(group.programs(variant.programs));
            Ok::<_, anyhow::Error>(())
        };
        need(&process::GROUP, "cannot record processes")?;
        if options.command.is_some() || !options.filter.pids.is_empty() {
            need(&process::TREES, "cannot follow processes")?;
        }
        if options.run_queue {
            need(&run_queue::GROUP, "--run-queue: cannot be measured")?;
        }
        for layer in Layer::ALL {
            if !options.layers.contains(layer) {
                plan.layers.push((*layer, not_captured("not selected")));
                continue;
            }
            let group = RecordGroup::of_layer(*layer);
            match choose(group, kernel, &mut works) {
                Ok(variant) => {
                    let mut without: Vec<String> = variant.without.iter().map(|what| (*what).to_owned()).collect();
                    if *layer == Layer::Syscall {
                        without.extend(syscall::unknown_opcodes(kernel));
                    }
                    plan.layers.push((*layer, LayerState { captured: true, how: variant.how.to_owned(), without }));
                    plan.programs.extend(group.programs(variant.programs));
                }
                Err(why) => {
                    plan.probes.push(Probe { name: layer.name().to_owned(), attached: false, why: Some(why.clone()) });
                    plan.layers.push((*layer, not_captured(&why)));
                }
            }
        }
        if options.groups.is_empty() && !plan.layers.iter().any(|(_, state)| state.captured) {
            let why: Vec<String> = plan.layers.iter().map(|(layer, state)| format!("{layer}: {}", state.how)).collect();
            bail!("no layer can be captured on this machine: {}", why.join("; "));
        }
        let attached = plan.programs.iter().filter(|program| program.attachment() != Attachment::ByRecorder);
        plan.probes.extend(attached.map(|Program { name, .. }| Probe {
            name: name.clone(),
            attached: true,
            why: None,
        }));
        Ok(plan)
    }

    /// Group of a program, by name.
    pub fn group_of(&self, program: &str) -> Option<&'static RecordGroup> {
        self.programs.iter().find(|chosen| chosen.name == program).map(|chosen| chosen.group)
    }
}

fn not_captured(why: &str) -> LayerState {
    LayerState { captured: false, how: why.to_owned(), without: Vec::new() }
}

/// Loads and attaches the best choice that works, with the rest of `settings` unchanged. A refused program is replaced
/// by the next best method to capture the same layer, or the layer is not captured. The kernel's verdict decides, because
/// no feature test can predict it. `before` is called before each attempt to attach.
pub fn start<'obj>(
    options: &Record,
    kernel: &dyn KernelFacts,
    objects: &'obj mut Objects,
    settings: &Settings,
    before: &mut dyn FnMut(),
) -> Result<(Plan, Session<'obj>)> {
    let mut refused: Vec<Refusal> = Vec::new();
    for object in objects {
        let plan = Plan::make(options, kernel, &mut |variant| {
            let refusal = refused.iter().find(|refusal| variant.programs.contains(&refusal.program));
            refusal.map_or(Ok(()), |refusal| Err(refusal.why.clone()))
        })?;
        match Session::start(object, &Settings { programs: plan.programs.clone(), ..settings.clone() }, before) {
            Ok(session) => return Ok((plan, session)),
            Err(error) => match error.downcast::<Refusal>() {
                // Not the fault of the program: another method to capture the layer would hit the same limit.
                Ok(refusal) if limits::is_about_files(&refusal.why) => return Err(limits::explain(refusal.into())),
                Ok(refusal) if plan.group_of(&refusal.program).is_some_and(|group| group.layer.is_some()) => {
                    refused.push(refusal);
                }
                Ok(refusal) => return Err(refusal.into()),
                Err(error) => return Err(limits::explain(error)),
            },
        }
    }
    let reasons: Vec<&str> = refused.iter().map(|refusal| refusal.why.as_str()).collect();
    bail!("the kernel refuses every choice of programs: {}", reasons.join("; "))
}
