//! Printing thread: collects the rows of a flush, sorts them by time and prints them.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use iostrata_capture::TableId;
use iostrata_capture::message::tell;
use iostrata_capture::system::Systems;

use super::printer::Printer;
use super::processes::Processes;
use super::row::{Events, Operations};
use super::stream::Stream;
use super::{End, Form, Message, Rows};
use crate::sink::priority;

/// Maximum number of rows that are sorted together; a flush has more only at 300,000 operations per second.
const ORDERED_ROWS: usize = 65_536;

/// Interval at which an idle thread checks for a closed output, for processes, and for the end of its time.
const TICK: Duration = Duration::from_millis(100);

/// Interval between two notes about rows that are not shown.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// State of the thread.
pub struct View {
    printer: Printer,
    events: Events,
    processes: Processes,
    arriving: Receiver<(TableId, RecordBatch)>,
    stream: Stream,
    line: Vec<u8>,
    /// Number of rows among the lines in the stream's buffer.
    waiting: u64,
    held: Vec<(TableId, RecordBatch)>,
    rows: Arc<Rows>,
    time_up: Arc<AtomicBool>,
    /// Refused rows reported so far, and the time of the last note.
    noted: (u64, Instant),
}

impl View {
    /// Creates a view that prints to `output`; `arriving` receives rows of processes and files.
    pub fn new(
        form: Form,
        systems: Systems,
        output: OwnedFd,
        arriving: Receiver<(TableId, RecordBatch)>,
        rows: Arc<Rows>,
        time_up: Arc<AtomicBool>,
    ) -> Self {
        View {
            printer: Printer::new(form),
            events: Events::new(),
            processes: Processes::new(systems),
            arriving,
            stream: Stream::new(output),
            line: Vec::new(),
            waiting: 0,
            held: Vec::new(),
            rows,
            time_up,
            noted: (0, Instant::now()),
        }
    }

    /// Prints rows until no more can arrive or be printed.
    pub fn run(mut self, messages: &Receiver<Message>) -> End {
        priority::give_way();
        let end = self.print_all(messages).err().unwrap_or(End::Done);
        if let End::Failed(error) = &end {
            tell(&format!("iostrata: cannot write to standard output: {error}; no more rows are shown\n"));
        }
        end
    }

    fn print_all(&mut self, messages: &Receiver<Message>) -> Result<(), End> {
        self.printer.header(&mut self.line);
        self.print_line(0)?;
        self.send()?;
        loop {
            match messages.recv_timeout(TICK) {
                Ok(Message::Rows(class, rows)) => {
                    self.held.push((class, rows));
                    if self.held.iter().map(|(_, rows)| rows.num_rows()).sum::<usize>() >= ORDERED_ROWS {
                        self.show()?;
                    }
                }
                Ok(Message::EndOfFlush) => self.show()?,
                // Detects a closed output even while no rows arrive.
                Err(RecvTimeoutError::Timeout) => drop(self.stream.has_room(Duration::ZERO)?),
                Err(RecvTimeoutError::Disconnected) => {
                    self.show()?;
                    return self.sum_up();
                }
            }
        }
    }

    /// Prints the held rows, sorted by time: they arrive by table, and from several CPUs.
    fn show(&mut self) -> Result<(), End> {
        self.learn();
        self.note()?;
        let held = std::mem::take(&mut self.held);
        let batches: Vec<Operations> = held.iter().filter_map(|(table, rows)| Operations::new(*table, rows)).collect();
        let mut order: Vec<(i64, usize, usize)> = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            order.extend(batch.times().iter().enumerate().map(|(row, ts_ns)| (*ts_ns, number, row)));
        }
        order.sort_unstable();
        for (_, number, row) in order {
            let batch = &batches[number];
            let system = batch.system(row, &mut self.processes);
            self.printer.row(&batch.row(row, &system, &self.events), &mut self.line);
            self.print_line(1)?;
        }
        self.send()
    }

    /// Adds the processes and files that have arrived.
    fn learn(&mut self) {
        for (table, rows) in self.arriving.try_iter() {
            match table {
                TableId::Process => self.processes.learn(&rows),
                _ => self.printer.learn(table, &rows),
            }
        }
    }

    /// Prints the lines after the last row.
    fn sum_up(&mut self) -> Result<(), End> {
        let summary = self.printer.summary();
        for line in summary.split_inclusive('\n') {
            self.line.extend_from_slice(line.as_bytes());
            self.print_line(0)?;
        }
        self.send()
    }

    /// Reports the rows refused since the last note. If a program reads standard output, it has only rows.
    fn note(&mut self) -> Result<(), End> {
        let (told, when) = self.noted;
        let refused = self.rows.refused.load(Relaxed);
        if refused == told || when.elapsed() < NOTE_INTERVAL {
            return Ok(());
        }
        self.noted = (refused, Instant::now());
        let note = format!("({} rows not shown: the output is too slow)\n", refused - told);
        if !self.printer.is_text() {
            tell(&format!("iostrata: {note}"));
            return Ok(());
        }
        self.line.extend_from_slice(note.as_bytes());
        self.print_line(0)
    }

    /// Moves the line, which has this many rows, to the stream.
    fn print_line(&mut self, rows: u64) -> Result<(), End> {
        if !self.stream.fits(&self.line) {
            self.send()?;
        }
        self.stream.push(&self.line);
        self.line.clear();
        self.waiting += rows;
        Ok(())
    }

    fn send(&mut self) -> Result<(), End> {
        while !self.stream.is_empty() {
            self.wait_for_room()?;
            self.stream.write()?;
        }
        self.rows.shown.fetch_add(std::mem::take(&mut self.waiting), Relaxed);
        Ok(())
    }

    fn wait_for_room(&mut self) -> Result<(), End> {
        loop {
            if self.time_up.load(Relaxed) {
                return Err(End::TimeUp);
            }
            if self.stream.has_room(TICK)? {
                return Ok(());
            }
            self.learn();
        }
    }
}
