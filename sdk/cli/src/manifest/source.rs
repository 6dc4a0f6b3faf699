//! The text of a document, and the places in it.

use std::ops::Range;

/// Where a text came from, what it is, and where its lines begin.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    lines: Vec<usize>,
}

/// A byte order mark, which stands before the first column.
const BYTE_ORDER_MARK: char = '\u{feff}';

impl Source {
    pub(super) fn new(name: String, text: String) -> Self {
        let breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Self { name, text, lines }
    }

    /// Line and column, both from 1, the column in characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        let before = before.trim_start_matches(BYTE_ORDER_MARK);
        (line, before.chars().count() + 1)
    }

    /// The byte at a line and a column; where there is none, the nearest before it.
    pub(super) fn offset(&self, line: u64, column: u64) -> usize {
        let line = usize::try_from(line).unwrap_or(usize::MAX).clamp(1, self.lines.len());
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        let rest = rest.split('\n').next().unwrap_or_default();
        let mark = rest.len() - rest.trim_start_matches(BYTE_ORDER_MARK).len();
        let column = usize::try_from(column).unwrap_or(usize::MAX).max(1);
        let characters = rest.get(mark..).unwrap_or_default();
        let within = characters
            .char_indices()
            .nth(column - 1)
            .map_or(characters.len(), |(offset, _)| offset);
        start + mark + within
    }

    /// What stands there.
    pub(super) fn raw(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// `span` inside the text and on one line, so that it can be shown.
    pub(super) fn shown(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.floor_char_boundary(span.end.max(start));
        let first = self.raw(&(start..end)).split('\n').next().unwrap_or_default();
        start..start + first.trim_end_matches('\r').len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_in_lines_and_characters_and_found_again() {
        let source = Source::new(String::new(), String::from("\u{feff}ab: é!\n\n  c"));
        for (offset, line, column) in [
            (3, 1, 1),
            (4, 1, 2),
            (7, 1, 5),
            (9, 1, 6),
            (10, 1, 7),
            (11, 2, 1),
            (14, 3, 3),
            (15, 3, 4),
        ] {
            assert_eq!(source.position(offset), (line, column), "{offset}");
            assert_eq!(source.offset(line as u64, column as u64), offset);
        }
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(99), (3, 4));
        assert_eq!(source.offset(9, 9), 15);
        assert_eq!(source.offset(0, 0), 3);
    }

    #[test]
    fn what_is_shown_is_on_one_line_and_inside() {
        let source = Source::new(String::new(), String::from("a: b\r\n  é"));
        assert_eq!(source.shown(&(3..99)), 3..4);
        assert_eq!(source.shown(&(9..10)), 8..10);
        assert_eq!(source.shown(&(50..60)), 10..10);
    }
}
