//! Texts for people to look at. Names were chosen by whoever ran on the recorded machine, or made the capture: a terminal would obey what is
//! in them, and marks that turn the direction of writing would make a name look like another one.
//!
//! All that is printed for people goes through here, of both binaries: tables, notes, messages, the live view. What programs read, CSV,
//! Parquet and the values of JSON, is exact.

use std::borrow::Cow;
use std::fmt::Write;

/// Characters that are not seen, but do something to others (Unicode 16, category Cf), and the two that end a line or paragraph.
const UNSEEN: [(char, char); 21] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

/// Whether a character is none to be shown.
fn is_hidden(c: char) -> bool {
    match c {
        ' '..='~' => false,
        _ => c.is_control() || UNSEEN.iter().any(|(first, last)| (*first..=*last).contains(&c)),
    }
}

/// A name, with what is not to be shown in the form of `\n`, `\x1b` or `\u{202e}`.
pub fn visible(name: &str) -> Cow<'_, str> {
    escaped(name, is_hidden)
}

/// Lines, which end as they do; else as [`visible`].
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_hidden(c))
}

/// The text of a JSON value, in which every such character is escaped: it stands in a string, and there it means the same.
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
            // As systemd calls its units: shown as it is.
            ("dev-disk\\x2dby", "dev-disk\\x2dby"),
        ] {
            assert_eq!(visible(name), shown);
            assert!(!visible(name).contains(is_hidden));
        }
        assert_eq!(lines("a\x1b\nb\r\n"), "a\\x1b\nb\\r\n");
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
