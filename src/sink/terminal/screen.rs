//! The terminal itself: taken over, redrawn in place, and given back whatever happens.

use std::io::{self, IsTerminal, Stdout, stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, enable_raw_mode,
};

use super::{Drawn, Frame, Look, Palette, render};

/// Time between two samples of the sparklines.
const SAMPLE: Duration = Duration::from_secs(1);

/// What a person pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `q` or Escape: done looking
    Quit,
    /// Ctrl-C: interrupted (a terminal in raw mode sends no signal for it)
    Interrupt,
    /// The tiles moved or the window changed: draw again
    Redraw,
    /// `p` or space: hold the picture, or go on
    Pause,
}

/// Whether the terminal is ours just now. There is one terminal, hence one flag: whoever gives it back first (the owner,
/// or any thread's panic) does so alone, because leaving the alternate screen twice moves the cursor back over the message.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, from [`Screen::open`] until it is dropped.
///
/// It is restored on drop, hence also when an error unwinds the caller, and before a panic's message is printed.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    look: Look,
    drawn: Drawn,
    sampled: Option<Instant>,
}

impl Screen {
    /// Takes the terminal over. Fails where stdout is none.
    pub fn open() -> io::Result<Self> {
        if !stdout().is_terminal() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "stdout is no terminal"));
        }
        restore_on_panic();
        TAKEN.store(true, Ordering::SeqCst);
        let terminal = take().inspect_err(|_| restore())?;
        let look = Look { palette: Palette::from_env(), ..Look::default() };
        Ok(Self { terminal, look, drawn: Drawn::default(), sampled: None })
    }

    /// Draws the frame; only cells that changed are sent. Fails once a panic elsewhere in the process gave the terminal
    /// back.
    pub fn draw(&mut self, frame: &Frame) -> io::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            return Err(io::Error::other("the terminal was given back because a part of this program panicked"));
        }
        if self.sampled.is_none_or(|at| at.elapsed() >= SAMPLE) {
            self.look.courses.sample(frame);
            self.sampled = Some(Instant::now());
        }
        // All at once where the terminal can, so that no half-drawn picture is ever seen.
        execute!(stdout(), BeginSynchronizedUpdate)?;
        let mut drawn = Drawn::default();
        let done = self.terminal.draw(|target| {
            let area = target.area();
            drawn = render(frame, &self.look, area, target.buffer_mut());
        });
        execute!(stdout(), EndSynchronizedUpdate)?;
        done?;
        self.drawn = drawn;
        self.look.scroll = self.look.scroll.min(drawn.max_scroll);
        Ok(())
    }

    /// What was pressed since the last call, if anything; never waits. Scrolling is done here, and asks for a redraw.
    pub fn poll_key(&mut self) -> io::Result<Option<Key>> {
        while event::poll(Duration::ZERO)? {
            let key = match event::read()? {
                Event::Key(pressed) if pressed.kind != KeyEventKind::Release => self.press(pressed),
                Event::Resize(_, _) => Some(Key::Redraw),
                _ => None,
            };
            if key.is_some() {
                return Ok(key);
            }
        }
        Ok(None)
    }

    fn press(&mut self, pressed: KeyEvent) -> Option<Key> {
        let scroll = self.look.scroll;
        let to = match pressed.code {
            KeyCode::Char('c') if pressed.modifiers.contains(KeyModifiers::CONTROL) => return Some(Key::Interrupt),
            KeyCode::Char('q') | KeyCode::Esc => return Some(Key::Quit),
            KeyCode::Char('p' | ' ') => return Some(Key::Pause),
            KeyCode::Up | KeyCode::PageUp | KeyCode::Char('k') => scroll.saturating_sub(1),
            KeyCode::Down | KeyCode::PageDown | KeyCode::Char('j') => scroll + 1,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            _ => return None,
        };
        self.look.scroll = to.min(self.drawn.max_scroll);
        (self.look.scroll != scroll).then_some(Key::Redraw)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn take() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen)?;
    Terminal::new(CrosstermBackend::new(stdout()))
}

fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    if let Err(error) = ratatui::try_restore() {
        tracing::warn!(%error, "cannot restore the terminal: try the command `reset`");
    }
}

/// A panic's message belongs on the ordinary screen, where it stays.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}
