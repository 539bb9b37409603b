//! Escaping of texts for people. Names were chosen by programs on the recorded machine, or by the author of the capture: a
//! terminal would interpret control characters in them, and marks of writing direction would make a name look like another one.
//!
//! All output for people is escaped here, in all programs: tables, notes, messages ([`crate::message`]), the live view. Output
//! for programs (CSV, Parquet, values of JSON) is exact.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::OnceLock;

use regex_syntax::hir::{Class, Hir, HirKind};

/// Characters that are invisible, or change their neighbours: controls, format characters (such as marks of writing direction),
/// line and paragraph separators, and default-ignorable characters (Hangul fillers, variation selectors, tags). Properties of
/// Unicode 16, from the tables of the crate that parses regular expressions.
const HIDDEN: &str = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]";

/// Returns the ranges of hidden characters, in order.
fn hidden() -> &'static [(char, char)] {
    static RANGES: OnceLock<Vec<(char, char)>> = OnceLock::new();
    RANGES.get_or_init(|| {
        let parsed = regex_syntax::parse(HIDDEN);
        match parsed.as_ref().map(Hir::kind) {
            Ok(HirKind::Class(Class::Unicode(class))) => {
                class.ranges().iter().map(|one| (one.start(), one.end())).collect()
            }
            // A test checks that it is a class. As a fallback, all characters outside ASCII are hidden.
            _ => vec![('\0', '\x1f'), ('\x7f', char::MAX)],
        }
    })
}

/// Whether a character must be escaped.
fn is_hidden(c: char) -> bool {
    if matches!(c, ' '..='~') {
        return false;
    }
    let ranges = hidden();
    let after = ranges.partition_point(|(first, _)| *first <= c);
    after > 0 && c <= ranges[after - 1].1
}

/// Returns a name with hidden characters escaped as `\n`, `\x1b` or `\u{202e}`.
pub fn visible(name: &str) -> Cow<'_, str> {
    escaped(name, is_hidden)
}

/// Returns lines with hidden characters escaped as by [`visible`], newlines excepted.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_hidden(c))
}

/// Returns the text of a JSON value with every hidden character escaped: inside a JSON string the escape has the same meaning.
pub fn json(text: &str) -> Cow<'_, str> {
    with(text, is_hidden, |c, to| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(to, "\\u{unit:04x}"))
    })
}

fn escaped(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    with(text, is_hidden, |c, to| match c {
        '\n' => to.write_str("\\n"),
        '\t' => to.write_str("\\t"),
        '\r' => to.write_str("\\r"),
        '\0'..='\x7f' => write!(to, "\\x{:02x}", u32::from(c)),
        _ => write!(to, "\\u{{{:x}}}", u32::from(c)),
    })
}

fn with(
    text: &str,
    is_hidden: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String) -> std::fmt::Result,
) -> Cow<'_, str> {
    if !text.contains(&is_hidden) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            // Writing to a string cannot fail.
            let _ = escape(c, &mut shown);
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_or_not_show_is_escaped() {
        for (name, shown) in [
            ("plain name ~", "plain name ~"),
            ("Łódź 東京 🦀 é", "Łódź 東京 🦀 é"),
            ("a\x1b[2Jb", "a\\x1b[2Jb"),
            ("\0\x07\x7f", "\\x00\\x07\\x7f"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("\u{2066}a\u{2069}", "\\u{2066}a\\u{2069}"),
            ("\u{200e}\u{200f}\u{61c}\u{feff}\u{ad}", "\\u{200e}\\u{200f}\\u{61c}\\u{feff}\\u{ad}"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
            ("tag \u{e0041}", "tag \\u{e0041}"),
            ("\u{3164}\u{115f}\u{ffa0}\u{34f}", "\\u{3164}\\u{115f}\\u{ffa0}\\u{34f}"),
            ("a\u{fe0f}\u{e0100}\u{180b}", "a\\u{fe0f}\\u{e0100}\\u{180b}"),
            // A name of a systemd unit is shown unchanged.
            ("dev-disk\\x2dby", "dev-disk\\x2dby"),
        ] {
            assert_eq!(visible(name), shown);
            assert!(!visible(name).contains(is_hidden));
        }
        assert_eq!(lines("a\x1b\nb\r\n"), "a\\x1b\nb\\r\n");
    }

    #[test]
    fn the_ranges_are_those_of_unicode() {
        let ranges = hidden();
        assert_eq!(ranges[0], ('\0', '\x1f'));
        assert!(ranges.len() > 20 && ranges.is_sorted() && !ranges.contains(&('\x7f', char::MAX)));
        for c in
            ['\u{ad}', '\u{600}', '\u{605}', '\u{2065}', '\u{fff0}', '\u{fffb}', '\u{e0000}', '\u{e0fff}', '\u{1bca3}']
        {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in ['\u{ae}', '\u{606}', '\u{301}', '\u{fffc}', '\u{fffd}', '\u{dffff}', '\u{e1000}', char::MAX] {
            assert!(!is_hidden(c), "{c:?}");
        }
    }

    #[test]
    fn in_json_the_value_stays_what_it_is() {
        for name in ["a\u{202e}b", "\u{9b}\u{feff}", "\u{e0041}", "\x1b\n\"\\", "Łódź 🦀"] {
            let text = serde_json::to_string(&[name]).expect("a text");
            let shown = json(&text);
            assert!(!shown.contains(is_hidden), "{shown}");
            assert_eq!(serde_json::from_str::<[String; 1]>(&shown).expect("JSON"), [name]);
        }
    }
}
