//! Text of a schema as Markdown that renders as it reads.

/// What Markdown, its tables and formulas, or HTML would take for their own.
const SPECIAL: [char; 15] = [
    '\\', '`', '*', '_', '{', '}', '[', ']', '<', '>', '#', '|', '~', '&', '$',
];

/// Paragraphs of `text`, on lines of their own. What stands between backticks stays code.
pub(super) fn prose(text: &str) -> String {
    inline(text, "\n\n", false)
}

/// `text` as the cell of a table, on one line.
pub(super) fn cell(text: &str) -> String {
    inline(text, "<br>", true)
}

/// `text` as code in the cell of a table.
pub(super) fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', r"\|"))
}

/// One row of a table.
pub(super) fn row(cells: &[&str]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// The head of a table.
pub(super) fn head(columns: &[&str]) -> String {
    format!("{}\n|{}", row(columns), "---|".repeat(columns.len()))
}

fn inline(text: &str, between_paragraphs: &str, in_cell: bool) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        // One backtick too many, and it cannot be told what is code.
        if line.matches('`').count() % 2 == 1 {
            return escaped(&line);
        }
        let parts = line
            .split('`')
            .enumerate()
            .map(|(index, part)| match (index % 2, in_cell) {
                (0, _) => escaped(part),
                (_, true) => code(part),
                (_, false) => format!("`{part}`"),
            });
        parts.collect::<String>()
    });
    paragraphs.collect::<Vec<_>>().join(between_paragraphs)
}

fn escaped(text: &str) -> String {
    let mut written = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(length) = emoji(rest) {
            let (name, after) = rest.split_at(length);
            written.push_str(&code(name));
            rest = after;
            continue;
        }
        if SPECIAL.contains(&next) {
            written.push('\\');
        }
        written.push(next);
        rest = rest.get(next.len_utf8()..).unwrap_or_default();
    }
    written
}

/// The length of what begins `text` and GitHub would replace by a picture together with the colon behind it, such as `:id`
/// in `:id:`. No backslash keeps it from that, code does.
fn emoji(text: &str) -> Option<usize> {
    let name = text.strip_prefix(':')?;
    let length = name.find(|it: char| !(it.is_ascii_alphanumeric() || "_+-".contains(it)))?;
    (length > 0 && name.get(length..)?.starts_with(':')).then_some(length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_markdown_would_take_for_its_own_is_escaped() {
        for (text, expected) in [
            (
                "plain text, with 'quotes' (and more).",
                "plain text, with 'quotes' (and more).",
            ),
            ("plugin_<plugin>_<tool>", r"plugin\_\<plugin\>\_\<tool\>"),
            (r#""*" is all; pods/* is not"#, r#""\*" is all; pods/\* is not"#),
            ("^1.0 || ~2.0", r"^1.0 \|\| \~2.0"),
            (r"a\b [c](d) #e &amp; $f$ {g}", r"a\\b \[c\](d) \#e \&amp; \$f\$ \{g\}"),
            ("such as /detail/:id: no more", "such as /detail/`:id`: no more"),
            ("one ` too many <b>", r"one \` too many \<b\>"),
        ] {
            assert_eq!(cell(text), expected);
            assert_eq!(prose(text), expected);
        }
    }

    #[test]
    fn code_stays_code_and_breaks_no_table() {
        let text = "use `a_b | <c>`, not `*`";
        assert_eq!(prose(text), "use `a_b | <c>`, not `*`");
        assert_eq!(cell(text), r"use `a_b \| <c>`, not `*`");
        assert_eq!(code("a|b"), r"`a\|b`");
    }

    #[test]
    fn a_cell_is_one_line() {
        let text = "The first\nparagraph.\n\nThe  second.";
        assert_eq!(prose(text), "The first paragraph.\n\nThe second.");
        assert_eq!(cell(text), "The first paragraph.<br>The second.");
        assert_eq!(row(&["a", "b"]), "| a | b |");
        assert_eq!(head(&["a", "b"]), "| a | b |\n|---|---|");
    }

    #[test]
    fn only_a_name_between_colons_is_a_picture() {
        assert_eq!(emoji(":id: no"), Some(3));
        for text in [":id", ": id:", "::", "id:", ":a b:", ""] {
            assert_eq!(emoji(text), None, "{text}");
        }
    }
}
