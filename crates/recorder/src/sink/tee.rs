//! Distribution of one stream of batches to several sinks.

use super::{Batch, Sink, Whole};

/// Passes every batch to a keeper and to views. The keeper's result counts for the event accounting. Views accept what they
/// have space for and count their own misses.
pub struct Tee {
    keeper: Box<dyn Sink>,
    views: Vec<Box<dyn Sink>>,
}

impl Tee {
    /// Creates a tee for these sinks.
    pub fn new(keeper: Box<dyn Sink>, views: Vec<Box<dyn Sink>>) -> Self {
        Tee { keeper, views }
    }

    fn show(&mut self, batch: &Batch) {
        for view in &mut self.views {
            // The columns are shared, not copied. A batch that a view refuses is not lost: it is still passed to the
            // keeper.
            let _ = view.offer(batch.clone());
        }
    }
}

impl Sink for Tee {
    fn offer(&mut self, batch: Batch) -> Result<(), Batch> {
        self.show(&batch);
        self.keeper.offer(batch)
    }

    /// Waits only for the keeper.
    fn put(&mut self, batch: Batch) -> Result<(), Batch> {
        self.show(&batch);
        self.keeper.put(batch)
    }

    fn end_flush(&mut self) {
        self.keeper.end_flush();
        self.views.iter_mut().for_each(|view| view.end_flush());
    }

    fn make_durable(&mut self, whole: Option<Whole>) {
        self.keeper.make_durable(whole);
    }
}
