//! State of the screen, changed by keys.

use std::sync::Arc;

use clap::ValueEnum;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::rows::{By, Only, Row, Sort};
use crate::groups::block_activity::Detail;

/// Text that is being entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// Part of a name.
    Name,
    /// Name of a disk.
    Disk,
    /// Process id.
    Pid,
}

impl Prompt {
    /// Label.
    pub const fn label(self) -> &'static str {
        match self {
            Prompt::Name => "name contains",
            Prompt::Disk => "disk",
            Prompt::Pid => "process id",
        }
    }
}

/// Effect of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// End.
    Quit,
    /// Draw again.
    Redraw,
    /// None.
    Nothing,
}

/// State.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// View.
    pub by: By,
    /// Order.
    pub sort: Sort,
    /// Lowest first.
    pub is_reversed: bool,
    /// Requests that are shown.
    pub only: Only,
    /// The shown interval stays.
    pub is_paused: bool,
    /// The help is shown.
    pub shows_help: bool,
    /// Text that is being entered.
    pub prompt: Option<(Prompt, String)>,
    /// Name and process id of the selected row; the first one if there is no such row.
    selected: Option<(Arc<str>, Option<u32>)>,
}

impl State {
    /// Starts with a view.
    pub fn new(by: By, sort: Sort) -> State {
        let (is_reversed, is_paused, shows_help) = (false, false, false);
        State { by, sort, is_reversed, only: Only::default(), is_paused, shows_help, prompt: None, selected: None }
    }

    /// What must be told apart for its rows.
    pub fn detail(&self) -> Detail {
        let of_filter = if self.only.pid.is_some() { Detail::Owners } else { Detail::Disks };
        self.by.detail().max(of_filter)
    }

    /// Place of the selected row.
    pub fn place(&self, rows: &[Row]) -> usize {
        let is_selected =
            |row: &Row| self.selected.as_ref().is_some_and(|(name, pid)| row.name == *name && row.pid == *pid);
        rows.iter().position(is_selected).unwrap_or(0)
    }

    /// Applies a key. `rows`: those that are shown.
    pub fn key(&mut self, key: KeyEvent, rows: &[Row]) -> Effect {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Effect::Quit } else { Effect::Nothing };
        }
        if let Some((prompt, text)) = self.prompt.take() {
            self.enter(prompt, text, key.code);
            return Effect::Redraw;
        }
        if std::mem::take(&mut self.shows_help) {
            return Effect::Redraw;
        }
        match key.code {
            KeyCode::Char('q') => return Effect::Quit,
            KeyCode::Char('?' | 'h') => self.shows_help = true,
            KeyCode::Char(' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('s') => self.sort = next(Sort::value_variants(), self.sort, 1),
            KeyCode::Char('S') => self.sort = next(Sort::value_variants(), self.sort, Sort::value_variants().len() - 1),
            KeyCode::Tab | KeyCode::Right => self.show(next(By::value_variants(), self.by, 1)),
            KeyCode::BackTab | KeyCode::Left => {
                self.show(next(By::value_variants(), self.by, By::value_variants().len() - 1))
            }
            KeyCode::Char(digit @ '1'..='5') => self.show(By::value_variants()[digit as usize - '1' as usize]),
            KeyCode::Char('/') => self.prompt = Some((Prompt::Name, self.only.name.clone())),
            KeyCode::Char('d') => self.prompt = Some((Prompt::Disk, self.only.disk.clone())),
            KeyCode::Char('p') => {
                let pid = self.only.pid.map(|pid| pid.to_string()).unwrap_or_default();
                self.prompt = Some((Prompt::Pid, pid));
            }
            KeyCode::Esc => self.only = Only::default(),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.place(rows) + 1, rows),
            KeyCode::Up | KeyCode::Char('k') => self.select(self.place(rows).saturating_sub(1), rows),
            KeyCode::Home => self.select(0, rows),
            KeyCode::End => self.select(rows.len(), rows),
            _ => return Effect::Nothing,
        }
        Effect::Redraw
    }

    fn show(&mut self, by: By) {
        self.by = by;
        self.selected = None;
    }

    fn select(&mut self, place: usize, rows: &[Row]) {
        let row = rows.get(place.min(rows.len().saturating_sub(1)));
        self.selected = row.map(|row| (Arc::clone(&row.name), row.pid));
    }

    fn enter(&mut self, prompt: Prompt, mut text: String, code: KeyCode) {
        match code {
            KeyCode::Enter => match prompt {
                Prompt::Name => self.only.name = text,
                Prompt::Disk => text.trim_start_matches("/dev/").clone_into(&mut self.only.disk),
                Prompt::Pid if text.is_empty() => self.only.pid = None,
                // What is no process id changes nothing.
                Prompt::Pid => self.only.pid = text.parse().ok().or(self.only.pid),
            },
            KeyCode::Esc => {}
            KeyCode::Backspace => {
                text.pop();
                self.prompt = Some((prompt, text));
            }
            KeyCode::Char(letter) if prompt != Prompt::Pid || letter.is_ascii_digit() => {
                text.push(letter);
                self.prompt = Some((prompt, text));
            }
            _ => self.prompt = Some((prompt, text)),
        }
    }
}

/// Element of `all` that is `step` places after `one`, which is one of them.
fn next<T: Copy + PartialEq>(all: &[T], one: T, step: usize) -> T {
    let place = all.iter().position(|of| *of == one).unwrap_or(0);
    all[(place + step) % all.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(state: &mut State, keys: &str) -> Effect {
        let effect = |letter| {
            let code = match letter {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\x1b' => KeyCode::Esc,
                letter => KeyCode::Char(letter),
            };
            state.key(KeyEvent::from(code), &[])
        };
        keys.chars().map(effect).last().expect("a key")
    }

    #[test]
    fn keys_change_view_order_and_filters() {
        let mut state = State::new(By::Disk, Sort::Iops);
        assert_eq!(typed(&mut state, "\t\tss r"), Effect::Redraw);
        assert_eq!(
            (state.by, state.sort, state.is_paused, state.is_reversed),
            (By::Process, Sort::Average, true, true)
        );
        typed(&mut state, "/post\nd/dev/sda\np12x3\n");
        assert_eq!(state.only, Only { name: "post".to_owned(), disk: "sda".to_owned(), pid: Some(123) });
        typed(&mut state, "p\x1b");
        assert_eq!(state.only.pid, Some(123), "not entered");
        typed(&mut state, "\x1b5");
        assert_eq!((state.only.clone(), state.by), (Only::default(), By::File));
        assert_eq!(typed(&mut state, "?"), Effect::Redraw);
        assert!(state.shows_help);
        assert_eq!(typed(&mut state, "q"), Effect::Redraw, "ends the help only");
        assert_eq!(typed(&mut state, "q"), Effect::Quit);
    }

    #[test]
    fn the_selected_row_is_found_again_in_another_order() {
        let row = |name: &str| Row {
            name: name.into(),
            pid: None,
            reads: <_>::default(),
            writes: <_>::default(),
            all: <_>::default(),
            disk: None,
        };
        let mut state = State::new(By::Disk, Sort::Iops);
        state.key(KeyEvent::from(KeyCode::Down), &[row("a"), row("b"), row("c")]);
        assert_eq!(state.place(&[row("c"), row("a"), row("b")]), 2);
        assert_eq!(state.place(&[row("c")]), 0);
        state.key(KeyEvent::from(KeyCode::Down), &[]);
        assert_eq!(state.place(&[]), 0);
    }
}
