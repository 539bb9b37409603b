//! Outputs of a recording, as selected by the options: a capture directory, a live view, or both.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use crossbeam_channel::Sender;

use crate::capture_dir::Home;
use crate::losses::Losses;
use crate::options::Record;
use crate::pace::Pace;
use crate::signals::Told;
use crate::sink::live::{self, LiveSink, Showing};
use crate::sink::{CountingSink, Counts, ParquetSettings, ParquetSink, Sink, Size, Tee, Totals, Written};

/// Output that is responsible for the event accounting of rows.
pub enum Keeper {
    /// The thread that writes the capture.
    Writer(JoinHandle<Written>),
    /// Rows are counted and not written.
    Counter(Counts),
}

/// Running outputs of a recording.
pub struct Outputs {
    /// Output responsible for the rows.
    pub keeper: Keeper,
    /// Sink of the recorder's own tables; none if no capture is written.
    pub own: Option<ParquetSink>,
    /// The live view.
    pub live: Option<Showing>,
}

impl Outputs {
    /// Starts the selected outputs. If the live view is the only one, its end is sent to `teller`.
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
            form: asked.form,
            systems: asked.systems.clone(),
            output: live::standard_output()?,
            on_end: options.out.is_none().then_some(teller),
        })?;
        let tee = Tee::new(keeping, vec![Box::new(view)]);
        Ok((Box::new(tee), Outputs { keeper, own, live: Some(showing) }))
    }
}

impl Keeper {
    /// Outcome of the rows, once the sink is dropped.
    pub fn finish(self) -> Result<Written> {
        match self {
            Keeper::Writer(writer) => writer.join().map_err(|_| anyhow!("the writer thread panicked")),
            Keeper::Counter(counts) => Ok(Written { size: Size::default(), written: counts.get()?, error: None }),
        }
    }
}

/// Waiting times of rows.
pub fn pace(options: &Record) -> Pace {
    // Each flush records the completeness time, and rows in finished parts after that time would be skipped. So a capture with more
    // frequent rotation is flushed as often.
    Pace::of(options.flush_interval.min(options.rotate_interval), options.live.is_some())
}
