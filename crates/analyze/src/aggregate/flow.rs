//! Bytes between application and device: by path of the application, through the page cache, and at the device by class and by evidence of
//! the attribution.

use iostrata_capture::op::{Direction, Evidence, IoClass, Op};
use serde::{Deserialize, Serialize};

use super::count::DIRECTIONS;
use super::packed::Packed;

/// Declares the paths of application bytes once: name on disk and meaning.
macro_rules! paths {
    ($($(#[doc = $doc:literal])+ $path:ident = $name:literal,)+) => {
        /// Path on which an application moves bytes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Path { $($(#[doc = $doc])+ $path,)+ }

        impl Path {
            /// Every path, in order of declaration.
            pub const ALL: &'static [Path] = &[$(Path::$path,)+];

            /// Returns its name in columns.
            pub const fn name(self) -> &'static str {
                match self { $(Path::$path => $name,)+ }
            }

            /// Returns its meaning.
            pub const fn doc(self) -> &'static str {
                match self { $(Path::$path => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

paths! {
    /// by system calls
    Call = "call",
    /// by Linux aio
    Aio = "aio",
    /// by io_uring
    IoUring = "io_uring",
    /// through mappings: pages that major faults read, and folios that turned dirty
    Mapping = "mapping",
}

impl Path {
    /// Returns the path of a row of the application layer.
    fn of(op: Op) -> Path {
        match op {
            Op::AioRead | Op::AioWrite | Op::AioFsync => Path::Aio,
            Op::UringRead
            | Op::UringWrite
            | Op::UringFsync
            | Op::UringSyncFileRange
            | Op::UringFallocate
            | Op::UringSpliceIn
            | Op::UringSpliceOut => Path::IoUring,
            _ => Path::Call,
        }
    }
}

/// Bytes of one direction. Sums saturate instead of wrapping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    by_path: [u64; Path::ALL.len()],
    by_class: [u64; IoClass::ALL.len()],
    by_evidence: [u64; Evidence::ALL.len()],
    cached: u64,
    mapped: u64,
    spliced: u64,
}

fn add(sum: &mut u64, bytes: u64) {
    *sum = sum.saturating_add(bytes);
}

fn total(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
}

impl Flow {
    /// Returns the bytes that the application moved on `path`.
    pub fn of_path(&self, path: Path) -> u64 {
        self.by_path[path as usize]
    }

    /// Returns all bytes that the application moved.
    pub fn application(&self) -> u64 {
        total(&self.by_path)
    }

    /// Returns the bytes that page faults read into the page cache beyond those that they requested: the application may have used them.
    pub fn mapped_ahead(&self) -> u64 {
        self.mapped.saturating_sub(self.of_path(Path::Mapping))
    }

    /// Returns the bytes that page faults read into the page cache.
    pub fn mapped(&self) -> u64 {
        self.mapped
    }

    /// Returns the bytes of calls that the kernel counts in `rchar` or `wchar` of their process.
    pub fn counted_calls(&self) -> u64 {
        self.of_path(Path::Call).saturating_sub(self.spliced)
    }

    /// Returns the bytes of file contents that entered the page cache, or turned dirty there.
    pub fn cached(&self) -> u64 {
        self.cached
    }

    /// Returns the bytes that the device moved, of `class`.
    pub fn of_class(&self, class: IoClass) -> u64 {
        self.by_class[class as usize]
    }

    /// Returns the bytes that the device moved, with an owner known by `evidence`.
    pub fn of_evidence(&self, evidence: Evidence) -> u64 {
        self.by_evidence[evidence as usize]
    }

    /// Returns all bytes that the device moved.
    pub fn device(&self) -> u64 {
        total(&self.by_class)
    }

    /// Returns the bytes of file contents that the device moved.
    pub fn data(&self) -> u64 {
        self.of_class(IoClass::Data).saturating_add(self.of_class(IoClass::Readahead))
    }

    /// Subtracts the application bytes of `other`, which are a part of these.
    fn take_off(&mut self, other: &Flow) {
        self.by_path.iter_mut().zip(&other.by_path).for_each(|(sum, part)| *sum = sum.saturating_sub(*part));
    }

    fn combine(&mut self, other: &Flow) {
        let pairs = self.by_path.iter_mut().zip(&other.by_path);
        let pairs = pairs.chain(self.by_class.iter_mut().zip(&other.by_class));
        let pairs = pairs.chain(self.by_evidence.iter_mut().zip(&other.by_evidence));
        pairs.for_each(|(sum, bytes)| add(sum, *bytes));
        add(&mut self.cached, other.cached);
        add(&mut self.mapped, other.mapped);
        add(&mut self.spliced, other.spliced);
    }
}

/// Number of bits of [`Step::code`].
pub const STEP_BITS: u32 = 10;

/// Step of a row in the flow of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Moved by the application.
    Application(Path),
    /// Moved by the application with splice, which the kernel counts for no process.
    Spliced,
    /// Entered the page cache, or turned dirty there.
    Cache {
        /// Whether a fault read it.
        mapped: bool,
    },
    /// Moved by the device.
    Device(IoClass, Evidence),
}

impl Step {
    /// Returns the step of a row of the application layer.
    pub fn of(op: Op) -> Step {
        match op {
            Op::SpliceIn | Op::SpliceOut => Step::Spliced,
            _ => Step::Application(Path::of(op)),
        }
    }

    /// Encodes the step in [`STEP_BITS`] bits.
    #[inline]
    pub const fn code(self) -> u16 {
        match self {
            Step::Application(path) => path as u16,
            Step::Cache { mapped } => 0x100 | mapped as u16,
            Step::Spliced => 0x300,
            Step::Device(class, evidence) => 0x200 | (class as u16) << 4 | evidence as u16,
        }
    }

    /// Decodes a [`Step::code`].
    pub fn of_code(code: u16) -> Step {
        let (high, low) = (code as usize >> 4 & 0xf, code as usize & 0xf);
        match code >> 8 {
            0 => Step::Application(Path::ALL[low % Path::ALL.len()]),
            1 => Step::Cache { mapped: low == 1 },
            3 => Step::Spliced,
            _ => Step::Device(IoClass::ALL[high % IoClass::ALL.len()], Evidence::ALL[low % Evidence::ALL.len()]),
        }
    }

    /// Iterates over all steps.
    pub fn all() -> impl Iterator<Item = Step> {
        let applications = Path::ALL.iter().map(|path| Step::Application(*path));
        let caches = [false, true].map(|mapped| Step::Cache { mapped });
        let evidences = |class: &'static IoClass| Evidence::ALL.iter().map(|evidence| Step::Device(*class, *evidence));
        applications.chain([Step::Spliced]).chain(caches).chain(IoClass::ALL.iter().flat_map(evidences))
    }
}

/// Bytes of both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows([Flow; DIRECTIONS.len()]);

impl Flows {
    /// Returns the bytes of one direction.
    pub fn get(&self, direction: Direction) -> &Flow {
        &self.0[direction as usize]
    }

    /// Returns all bytes that the device moved.
    pub fn device(&self) -> u64 {
        total(&self.0.map(|flow| flow.device()))
    }

    /// Adds bytes of `step`.
    pub fn add(&mut self, direction: Direction, step: Step, bytes: u64) {
        let flow = &mut self.0[direction as usize];
        match step {
            Step::Application(path) => add(&mut flow.by_path[path as usize], bytes),
            Step::Spliced => {
                add(&mut flow.by_path[Path::Call as usize], bytes);
                add(&mut flow.spliced, bytes);
            }
            Step::Cache { mapped } => {
                add(&mut flow.cached, bytes);
                if mapped {
                    add(&mut flow.mapped, bytes);
                }
            }
            Step::Device(class, evidence) => {
                add(&mut flow.by_class[class as usize], bytes);
                add(&mut flow.by_evidence[evidence as usize], bytes);
            }
        }
    }

    /// Subtracts the application bytes of `other`, which are a part of these.
    pub fn take_off(&mut self, other: &Flows) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, part)| mine.take_off(part));
    }

    /// Adds the bytes of `other`.
    pub fn combine(&mut self, other: &Flows) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| mine.combine(theirs));
    }
}

/// Positions of the sums of a [`Flow`] among those of a [`Kept`].
const PATHS: usize = 0;
const CLASSES: usize = PATHS + Path::ALL.len();
const EVIDENCES: usize = CLASSES + IoClass::ALL.len();
const CACHED: usize = EVIDENCES + Evidence::ALL.len();
const MAPPED: usize = CACHED + 1;
const SPLICED: usize = MAPPED + 1;
const SUMS: usize = SPLICED + 1;
const _: () = assert!(SUMS * DIRECTIONS.len() <= u8::MAX as usize);

impl Flow {
    fn sum(&mut self, number: usize) -> Option<&mut u64> {
        match number {
            CACHED => Some(&mut self.cached),
            MAPPED => Some(&mut self.mapped),
            SPLICED => Some(&mut self.spliced),
            _ if number < CLASSES => self.by_path.get_mut(number - PATHS),
            _ if number < EVIDENCES => self.by_class.get_mut(number - CLASSES),
            _ => self.by_evidence.get_mut(number - EVIDENCES),
        }
    }
}

impl Step {
    /// Returns the sums that it adds to.
    fn sums(self) -> [Option<usize>; 2] {
        match self {
            Step::Application(path) => [Some(PATHS + path as usize), None],
            Step::Spliced => [Some(PATHS + Path::Call as usize), Some(SPLICED)],
            Step::Cache { mapped } => [Some(CACHED), mapped.then_some(MAPPED)],
            Step::Device(class, evidence) => [Some(CLASSES + class as usize), Some(EVIDENCES + evidence as usize)],
        }
    }
}

/// Compact form of [`Flows`] for one of many entities: most sums are zero.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Flows", into = "Flows")]
pub struct Kept(Packed);

impl From<Flows> for Kept {
    fn from(Flows(mut flows): Flows) -> Kept {
        let mut kept = Packed::default();
        for (direction, flow) in flows.iter_mut().enumerate() {
            for number in 0..SUMS {
                let sum = flow.sum(number).copied().unwrap_or_default();
                kept.add((direction * SUMS + number) as u8, u128::from(sum), u64::MAX.into());
            }
        }
        Kept(kept)
    }
}

impl From<Kept> for Flows {
    fn from(kept: Kept) -> Flows {
        kept.get()
    }
}

impl Kept {
    /// Adds bytes of `step`.
    pub fn add(&mut self, direction: Direction, step: Step, bytes: u64) {
        for number in step.sums().into_iter().flatten() {
            self.0.add((direction as usize * SUMS + number) as u8, bytes.into(), u64::MAX.into());
        }
    }

    /// Adds the bytes of `other`.
    pub fn combine(&mut self, other: &Kept) {
        other.0.each().for_each(|(number, bytes)| self.0.add(number, bytes, u64::MAX.into()));
    }

    /// Returns all sums.
    pub fn get(&self) -> Flows {
        let mut flows = Flows::default();
        for (number, bytes) in self.0.each() {
            let (direction, number) = (usize::from(number) / SUMS, usize::from(number) % SUMS);
            let sum = flows.0.get_mut(direction).and_then(|flow| flow.sum(number));
            sum.into_iter().for_each(|sum| *sum = u64::try_from(bytes).unwrap_or(u64::MAX));
        }
        flows
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod kept {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_added() {
        let (mut flows, mut kept) = (Flows::default(), Kept::default());
        assert!(kept.is_empty() && kept.get() == flows);
        for (step, direction) in Step::all().zip(DIRECTIONS.into_iter().cycle()) {
            for bytes in [1, u64::MAX / 2, u64::from(step.code()) << 20] {
                flows.add(direction, step, bytes);
                kept.add(direction, step, bytes);
            }
        }
        assert_eq!(kept.get(), flows);
        assert_eq!(Kept::from(flows).get(), flows);
        let mut twice = kept.clone();
        twice.combine(&kept);
        flows.combine(&flows.clone());
        assert_eq!(twice.get(), flows);
    }
}
