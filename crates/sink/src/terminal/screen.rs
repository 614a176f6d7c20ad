//! The terminal itself: taken over, redrawn in place, and always restored.

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

use super::{Drawn, Frame, Palette, ScreenState, render};

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
    /// `p` or space: pause the picture, or resume
    Pause,
}

/// Whether the terminal is taken over. There is one terminal, hence one flag: only the first to restore it (the owner, or
/// any thread's panic) does so, because leaving the alternate screen twice moves the cursor back over the message.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, from [`Screen::open`] until it is dropped.
///
/// It is restored on drop, hence also when an error unwinds the caller, and before a panic's message is printed.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    state: ScreenState,
    drawn: Drawn,
    sampled: Option<Instant>,
}

impl Screen {
    /// Takes the terminal over. Fails where stdout is not a terminal.
    pub fn open() -> io::Result<Self> {
        if !stdout().is_terminal() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "stdout is not a terminal"));
        }
        restore_on_panic();
        TAKEN.store(true, Ordering::SeqCst);
        let terminal = take().inspect_err(|_| restore())?;
        let state = ScreenState { palette: Palette::from_env(), ..ScreenState::default() };
        Ok(Self { terminal, state, drawn: Drawn::default(), sampled: None })
    }

    /// Draws the frame; only cells that changed are sent. Fails once a panic elsewhere in the process has restored the
    /// terminal.
    pub fn draw(&mut self, frame: &Frame) -> io::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            return Err(io::Error::other("the terminal was restored because a part of this program panicked"));
        }
        if self.sampled.is_none_or(|at| at.elapsed() >= SAMPLE) {
            self.state.trends.sample(frame);
            self.sampled = Some(Instant::now());
        }
        // All at once where the terminal can, so that no half-drawn picture is ever seen.
        execute!(stdout(), BeginSynchronizedUpdate)?;
        let mut drawn = Drawn::default();
        let done = self.terminal.draw(|target| {
            let area = target.area();
            drawn = render(frame, &self.state, area, target.buffer_mut());
        });
        execute!(stdout(), EndSynchronizedUpdate)?;
        done?;
        self.drawn = drawn;
        self.state.scroll = self.state.scroll.min(drawn.max_scroll);
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
        let scroll = self.state.scroll;
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
        self.state.scroll = to.min(self.drawn.max_scroll);
        (self.state.scroll != scroll).then_some(Key::Redraw)
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
