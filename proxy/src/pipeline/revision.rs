//! Which revision of a plugin a request is for. A page says by a header field from which it was loaded, and goes on with that one while it
//! drains; whoever says nothing gets the one that takes the traffic.

use std::{ops::Deref, sync::Arc};

use http::{HeaderMap, HeaderName};
use kite_api::PluginName;

use super::Gateway;
use crate::{
    directory::{Directory, Entry, Revision, Table},
    moment::Moment,
    problem::Refusal,
};

/// Says of which revision of the plugin an answer is, and to which a request is to go.
pub const FIELD: HeaderName = HeaderName::from_static("x-kite-revision");

/// Why it is not clear which revision is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PinError {
    #[error("the field {FIELD} is given more than once")]
    Twice,
    #[error("the field {FIELD} is not the number of a revision, as answers say it")]
    Number,
}

/// The revision that a request is to go to, if it says one.
pub fn pinned(headers: &HeaderMap) -> Result<Option<i64>, PinError> {
    let mut fields = headers.get_all(FIELD).iter();
    let (Some(field), other) = (fields.next(), fields.next()) else {
        return Ok(None);
    };
    if other.is_some() {
        return Err(PinError::Twice);
    }
    let text = field.to_str().map_err(|_| PinError::Number)?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_number && *number > 0);
    number.map(Some).ok_or(PinError::Number)
}

/// A plugin as the table has it, or as it was read after the table was found to be behind.
pub(super) enum Found<'a> {
    Known(&'a Entry),
    Read(Arc<Entry>),
}

impl Deref for Found<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        match self {
            Self::Known(entry) => entry,
            Self::Read(entry) => entry,
        }
    }
}

/// The revision of the plugin that a request is for.
pub(super) fn serving(entry: &Entry, pinned: Option<i64>) -> Result<&Revision, Refusal> {
    let active = entry.serving().ok_or(Refusal::NotLoaded)?;
    match pinned {
        Some(number) if number != active.number => {
            let is_asked = |revision: &&Revision| revision.until.is_none_or(|until| Moment::now() < until);
            let draining = entry.draining.iter().find(|revision| revision.number == number);
            let draining = draining.filter(is_asked);
            draining.ok_or(Refusal::RevisionGone { number })
        }
        _ => Ok(active),
    }
}

/// Whether the table may only not have learnt yet of the revision: numbers grow, and another gateway may have switched before.
fn may_be_newer(entry: &Entry, pinned: Option<i64>) -> bool {
    let known = entry.active.as_ref().map_or(0, |active| active.number);
    pinned.is_some_and(|number| number > known)
}

impl<N, Z, D: Directory> Gateway<N, Z, D> {
    /// The plugin, in which the revision that is asked for can be found if there is such a one.
    pub(super) async fn find<'a>(
        &self,
        table: &'a Table,
        plugin: &PluginName,
        pinned: Option<i64>,
    ) -> Result<Found<'a>, Refusal> {
        let entry = table.get(plugin).ok_or(Refusal::NoPlugin)?;
        let is_behind = may_be_newer(entry, pinned) && serving(entry, pinned).is_err();
        if is_behind && let Some(read) = self.directory.read(plugin).await {
            return Ok(Found::Read(read));
        }
        Ok(Found::Known(entry))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn said(values: &[&str]) -> Result<Option<i64>, PinError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FIELD, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        pinned(&headers)
    }

    #[test]
    fn a_revision_is_named_by_its_number() {
        assert_eq!(said(&[]), Ok(None));
        assert_eq!(said(&["7"]), Ok(Some(7)));
        assert_eq!(said(&["9223372036854775807"]), Ok(Some(i64::MAX)));
        for text in [
            "",
            "0",
            "-1",
            "+1",
            " 1 2",
            "1.0",
            "0x1",
            "seven",
            "9223372036854775808",
            "\u{fc}",
        ] {
            assert_eq!(said(&[text]), Err(PinError::Number), "{text:?}");
        }
        assert_eq!(said(&["7", "7"]), Err(PinError::Twice));
    }
}
