//! In which namespaces of its grant a plugin gets its Roles.

use std::collections::{BTreeMap, BTreeSet};

use kite_api::NamespaceStatus;

use super::{
    Context, ReconcileError,
    gather::Surroundings,
    object::Object,
    status::{self, Recorded},
    validate::ValidatedPlugin,
};

/// The namespaces of a grant, by what they are now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Places {
    /// Those that get a Role.
    pub usable: BTreeSet<String>,
    /// Those that do not exist, or are on their way out.
    pub missing: Vec<String>,
    /// Those that were deleted and made again: what is there now is not what the grant was given for.
    pub replaced: Vec<String>,
    /// What is to be recorded of all of them, so that a replacement is noticed.
    pub record: Vec<NamespaceStatus>,
}

/// Sorts the namespaces that a grant names. `found` has the uid of each that exists, `recorded` what an earlier pass found.
/// The plugins' own namespace is the chart's, and may be made anew by it: it is not recorded.
pub fn sort<'a>(
    granted: impl IntoIterator<Item = &'a String>,
    found: &BTreeMap<String, String>,
    recorded: &[NamespaceStatus],
    plugins_namespace: &str,
) -> Places {
    let mut places = Places::default();
    for name in granted {
        let uid = found.get(name);
        let is_own = name == plugins_namespace;
        let known = recorded.iter().find(|it| it.name == *name).map(|it| &it.uid);
        match (uid, known) {
            (None, _) => places.missing.push(name.clone()),
            (Some(uid), Some(known)) if uid != known && !is_own => places.replaced.push(name.clone()),
            (Some(_), _) => _ = places.usable.insert(name.clone()),
        }
        if let Some(uid) = known.or(uid).filter(|_| !is_own) {
            places.record.push(NamespaceStatus {
                name: name.clone(),
                uid: uid.clone(),
            });
        }
    }
    places
}

/// The namespaces of the grant, sorted and recorded. `None`: somebody else has just written the object, which wakes it again.
pub(super) async fn places(
    object: &Object,
    plugin: &ValidatedPlugin,
    found: &Surroundings,
    recorded: &mut Recorded,
    context: &Context,
) -> Result<Option<Places>, ReconcileError> {
    let own = context.options.namespaces.plugins.as_str();
    let sort = |before| sort(plugin.grant.namespaces.keys(), &found.namespaces, before, own);
    if plugin.grant.namespaces.keys().all(|name| name == own) {
        return Ok(Some(sort(&[])));
    }
    let places = sort(&recorded.status.namespaces);
    let stands = status::record(&context.client, object, recorded, &places.record)
        .await
        .map_err(ReconcileError::Status)?;
    Ok(stands.then_some(places))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &str, uid: &str) -> NamespaceStatus {
        NamespaceStatus {
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    fn sorted(granted: &[&str], found: &[(&str, &str)], recorded: &[NamespaceStatus]) -> Places {
        let granted: Vec<String> = granted.iter().map(|name| (*name).to_owned()).collect();
        let found = found.iter().map(|(name, uid)| ((*name).to_owned(), (*uid).to_owned()));
        sort(&granted, &found.collect(), recorded, "kite-plugins")
    }

    #[test]
    fn a_namespace_that_exists_is_used_and_recorded() {
        let places = sorted(&["shop"], &[("shop", "1")], &[]);
        assert!(places.usable.contains("shop"));
        assert_eq!(places.record, [status("shop", "1")]);
    }

    #[test]
    fn one_that_is_missing_is_not_and_its_record_stays() {
        let places = sorted(&["pay", "shop"], &[], &[status("shop", "1")]);
        assert_eq!(
            (places.usable.len(), places.missing),
            (0, vec!["pay".into(), "shop".into()])
        );
        assert_eq!(places.record, [status("shop", "1")]);
    }

    #[test]
    fn one_that_was_made_again_is_not_used_until_it_is_granted_anew() {
        let again = sorted(&["shop"], &[("shop", "2")], &[status("shop", "1")]);
        assert_eq!((again.usable.len(), again.replaced), (0, vec!["shop".into()]));
        assert_eq!(again.record, [status("shop", "1")]);
        let taken_out = sorted(&[], &[("shop", "2")], &again.record);
        assert_eq!(taken_out.record, []);
        let put_back = sorted(&["shop"], &[("shop", "2")], &taken_out.record);
        assert!(put_back.usable.contains("shop"));
    }

    #[test]
    fn the_plugins_own_namespace_may_be_made_again() {
        let places = sorted(
            &["kite-plugins"],
            &[("kite-plugins", "2")],
            &[status("kite-plugins", "1")],
        );
        assert!(places.usable.contains("kite-plugins"));
        assert_eq!(places.record, []);
    }
}
