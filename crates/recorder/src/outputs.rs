//! Where a recording's rows go, as the options say: into a capture directory, before somebody's eyes, or both.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use crossbeam_channel::Sender;

use crate::home::Home;
use crate::losses::Losses;
use crate::options::Record;
use crate::pace::Pace;
use crate::signals::Told;
use crate::sink::live::{self, LiveSink, Showing};
use crate::sink::{CountingSink, Counts, ParquetSettings, ParquetSink, Sink, Size, Tee, Totals, Written};

/// Who answers for the rows in the books.
pub enum Keeper {
    /// The thread that writes the capture.
    Writer(JoinHandle<Written>),
    /// Nobody keeps rows: they are counted.
    Counter(Counts),
}

/// The running outputs of a recording.
pub struct Outputs {
    /// Who answers for the rows.
    pub keeper: Keeper,
    /// Where the recorder's own tables go; none where no capture is kept.
    pub own: Option<ParquetSink>,
    /// The live view.
    pub live: Option<Showing>,
}

impl Outputs {
    /// Starts what the options ask for. Where the live view is all there is, its end is told to `teller`.
    pub fn start(
        options: &Record,
        (home, capture_id, began_ns): (Option<&Home>, &str, i64),
        (totals, losses): (&Arc<Totals>, &Arc<Losses>),
        teller: Sender<Told>,
    ) -> Result<(Box<dyn Sink>, Outputs)> {
        let (keeping, keeper, own): (Box<dyn Sink>, Keeper, Option<ParquetSink>) = match home {
            Some(home) => {
                let settings = ParquetSettings {
                    directory: home.directory.clone(),
                    capture_id: capture_id.to_owned(),
                    began_ns,
                    older: home.older.clone(),
                    min_free: options.min_free,
                    max_disk_bytes: options.max_disk_bytes,
                    rotate_bytes: options.rotate_bytes,
                    rotate_interval: options.rotate_interval,
                    flush_interval: options.flush_interval,
                    tick: pace(options).tick,
                    memory: options.memory,
                };
                let (sink, writer) = ParquetSink::start(settings, (Arc::clone(totals), Arc::clone(losses)))?;
                (Box::new(sink.clone()), Keeper::Writer(writer), Some(sink))
            }
            None => {
                let (sink, counts) = CountingSink::start();
                (Box::new(sink), Keeper::Counter(counts), None)
            }
        };
        let Some(asked) = &options.live else { return Ok((keeping, Outputs { keeper, own, live: None })) };
        let (view, showing) = LiveSink::start(live::Settings {
            format: asked.format,
            systems: asked.systems.clone(),
            output: live::standard_output()?,
            on_end: options.out.is_none().then_some(teller),
        })?;
        let tee = Tee::new(keeping, vec![Box::new(view)]);
        Ok((Box::new(tee), Outputs { keeper, own, live: Some(showing) }))
    }
}

impl Keeper {
    /// What became of the rows, once the sink is gone.
    pub fn finish(self) -> Result<Written> {
        match self {
            Keeper::Writer(writer) => writer.join().map_err(|_| anyhow!("the writer thread panicked")),
            Keeper::Counter(counts) => Ok(Written { size: Size::default(), written: counts.get()?, error: None }),
        }
    }
}

/// How long rows may wait on their way.
pub fn pace(options: &Record) -> Pace {
    // Up to when all is there is told with each flush, so a capture whose parts are closed more often is flushed as often: what is in
    // finished parts and later than that moment would be left out.
    Pace::of(options.flush_interval.min(options.rotate_interval), options.live.is_some())
}
