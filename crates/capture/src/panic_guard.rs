//! Conversion of decoder panics into errors.
//!
//! The Parquet and Arrow crates check most of their input, but some damaged files make them panic. Parts are read inside
//! [`reading`], where a panic becomes an error about the part.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

use crate::error::{Error, Result};

thread_local! {
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read`, which reads the part at `path`. State that `read` was changing is unusable after an error.
pub fn reading<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    be_quiet_while_reading();
    let before = READING.replace(true);
    // Safe to unwind across: callers drop what they were filling.
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    READING.set(before);
    result.unwrap_or_else(|cause| {
        let what = format!("not a readable Parquet file: {}", text(cause.as_ref()));
        Err(Error::Schema { path: path.to_owned(), what })
    })
}

/// Silences the panic hook while reading: the user gets one line about the part, not a backtrace. Other panics are reported
/// as usual.
fn be_quiet_while_reading() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !READING.get() {
                before(info);
            }
        }));
    });
}

fn text(cause: &(dyn Any + Send)) -> &str {
    let owned = cause.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("the decoder failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_is_an_error_about_the_part() {
        let error = reading::<()>(Path::new("a/b"), || panic!("offset {} out of bounds", 7)).expect_err("a panic");
        assert_eq!(error.to_string(), "a/b: not a readable Parquet file: offset 7 out of bounds");
        assert!(matches!(reading(Path::new("a/b"), || Ok(3)), Ok(3)));
        assert!(!READING.get());
    }
}
