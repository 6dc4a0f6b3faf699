//! A panic of the author's code at the start: axum tells by panics what is wrong with routes, and at which line of the author's.

use std::{
    cell::RefCell,
    fmt,
    panic::{self, AssertUnwindSafe, Location, PanicHookInfo},
    sync::Once,
};

/// What a panic said, and where.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Panicked {
    text: String,
    place: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, place } = self;
        // A text of several lines would make several sentences.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{} ({place})", text.trim_end_matches('.'))
    }
}

thread_local! {
    /// Where this thread notes its panic while somebody waits for it.
    static NOTED: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

/// What `run` gives, or its panic, of which nothing is printed.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !note(info) {
                others(info);
            }
        }));
    });
    NOTED.set(Some(Panicked::default()));
    let ended = panic::catch_unwind(AssertUnwindSafe(run));
    let noted = NOTED.take().unwrap_or_default();
    ended.map_err(|_| noted)
}

/// Notes the panic, if somebody waits for it.
fn note(info: &PanicHookInfo<'_>) -> bool {
    NOTED.with_borrow_mut(|noted| {
        let Some(noted) = noted else { return false };
        *noted = Panicked {
            text: info.payload_as_str().unwrap_or("a panic without a text").to_owned(),
            place: info.location().map(Location::to_string).unwrap_or_default(),
        };
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_line_with_its_place() {
        assert_eq!(caught(|| 1), Ok(1));
        let panicked = caught(|| panic!("one\n  {}.", "two")).map(|()| 1).unwrap_err();
        let told = panicked.to_string();
        assert!(told.starts_with("one two (sdk/rust/src/server/panics.rs:"), "{told}");
    }

    #[test]
    fn only_the_panic_that_is_waited_for_is_noted() {
        let other = caught(|| std::thread::spawn(|| panic!("on purpose")).join().is_err());
        assert_eq!(other, Ok(true));
        assert_eq!(NOTED.take(), None);
    }
}
