//! Texts of others, made fit for a message: one line, printable, bounded.

/// Most characters that are kept of what somebody said.
pub(super) const MOST: usize = 400;

/// The beginning of `text` in one line of printable characters. What is cut off is told by an ellipsis.
pub(super) fn bounded(text: &str) -> String {
    cut(text, MOST)
}

/// The same, at most `most` characters long.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut kept = String::new();
    let mut length = 0;
    let mut gap = false;
    for character in text.chars() {
        if character.is_whitespace() || character.is_control() {
            gap = length > 0;
            continue;
        }
        if is_invisible(character) {
            continue;
        }
        if length + usize::from(gap) >= most {
            kept.push('…');
            break;
        }
        if gap {
            kept.push(' ');
            length += 1;
            gap = false;
        }
        kept.push(character);
        length += 1;
    }
    kept
}

/// Whether a character shows nothing and changes how others show: those that turn the direction of writing could make a
/// message read as another.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_becomes_one_line_without_what_cannot_be_seen() {
        assert_eq!(bounded(" a\r\n\u{1b}[31m b\t\0c "), "a [31m b c");
        assert_eq!(bounded("file\u{202e}gpj.exe"), "filegpj.exe");
        assert_eq!(bounded("\n\u{200b}\0 "), "");
        assert_eq!(cut("abc def", 3), "abc…");
        assert_eq!(cut("abc def", 7), "abc def");
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_bounded_and_printable(text in any::<Vec<char>>().prop_map(|it| it.into_iter().collect::<String>()), most in 1_usize..50) {
            let shown = cut(&text, most);
            prop_assert!(shown.chars().count() <= most + 1, "{shown:?}");
            prop_assert!(!shown.chars().any(|it| it.is_control() || is_invisible(it)), "{shown:?}");
            prop_assert_eq!(cut(&shown, most + 1), shown);
        }
    }
}
