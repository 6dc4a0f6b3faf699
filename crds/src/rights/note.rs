//! Notes: statements on one line, in a bounded number of bytes.

const BETWEEN: &str = "; ";

/// `lead` and as many of the items, in their order, as fit into `max_bytes` with the number of the others behind them.
/// Of a first item that does not fit, its beginning is told. Nothing where there is no item.
pub(super) fn fit(lead: &str, parts: &[&[String]], max_bytes: usize) -> Option<String> {
    let items: Vec<&str> = parts.iter().copied().flatten().map(String::as_str).collect();
    let (first, others) = items.split_first()?;
    let whole = format!("{lead}{}", items.join(BETWEEN));
    if whole.len() <= max_bytes {
        return Some(whole);
    }
    let mut note = format!("{lead}{first}");
    if note.len() + tail(others.len()).len() > max_bytes {
        let end = match others.len() {
            0 => String::from("…"),
            left => more(left),
        };
        return Some(cut(note, max_bytes.saturating_sub(end.len())) + &cut(end, max_bytes));
    }
    let mut left = others.len();
    for item in others {
        let length = note.len() + BETWEEN.len() + item.len() + tail(left - 1).len();
        if length > max_bytes {
            break;
        }
        note.push_str(BETWEEN);
        note.push_str(item);
        left -= 1;
    }
    Some(note + &tail(left))
}

/// The first `max_bytes` of a text, or fewer where a character would be broken.
pub(super) fn cut(mut text: String, max_bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(max_bytes));
    text
}

/// What stands behind whole items when `left` are left out.
fn tail(left: usize) -> String {
    if left == 0 {
        String::new()
    } else {
        format!("{BETWEEN}{}", more(left))
    }
}

fn more(left: usize) -> String {
    format!("… and {left} more")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(lead: &str, items: &[&str], max_bytes: usize) -> String {
        let items: Vec<String> = items.iter().map(|item| (*item).to_owned()).collect();
        fit(lead, &[&items[..1], &items[1..]], max_bytes).unwrap()
    }

    #[test]
    fn what_fits_is_told_in_whole() {
        assert_eq!(note("now: ", &["one", "two"], 13), "now: one; two");
        assert_eq!(fit("now: ", &[&[], &[]], 100), None);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let items = ["one", "two", "three and more", "the fourth of four"];
        assert_eq!(note("", &items, 40), "one; two; three and more; … and 1 more");
        assert_eq!(note("", &items, 39), "one; two; … and 2 more");
        assert_eq!(note("", &items, 23), "one; … and 3 more");
    }

    #[test]
    fn of_a_first_item_that_does_not_fit_the_beginning_is_told() {
        assert_eq!(note("", &["a long beginning", "two"], 20), "a long… and 1 more");
        assert_eq!(note("", &["a long beginning"], 9), "a long…");
        assert_eq!(note("", &["ääääääää", "two"], 17), "ä… and 1 more");
    }

    #[test]
    fn no_bound_is_too_small() {
        for max_bytes in 0..20 {
            assert!(note("now: ", &["a long beginning", "two"], max_bytes).len() <= max_bytes);
        }
    }
}
