//! Lists of the objects of one type.

use kite_proto::{ResourceList, ResourceRequest, ResourceVerb, resource_response::Part};
use serde_json::Value;
use tonic::Code;

use super::{LABEL, OBJECTS, Walker};
use crate::{
    checks::resources::ask,
    verdict::{Checked, broken, ensure, not_applicable},
};

/// Most objects of a page.
const MAX_PAGE: usize = 500;
/// Most bytes of what leads to the next page.
const MAX_CONTINUE: usize = 1024;
/// Most pages that are read.
const MOST_PAGES: usize = 1000;

/// What was seen of lists.
pub(super) struct Lists {
    pub(super) limit: Checked,
    pub(super) pages: Checked,
    pub(super) next_page: Checked,
}

impl Walker<'_> {
    async fn list(&self, limit: u32, after: &str, selector: &str) -> Checked<ResourceList> {
        let request = ResourceRequest {
            limit,
            r#continue: after.to_owned(),
            ..self.selection(selector)
        };
        let what = format!("LIST of {}", self.kind.name);
        match ask(self.world, request).await?.one(&what)?.part {
            Some(Part::List(list)) => Ok(list),
            Some(Part::Object(_)) | None => broken(format!("{what}: no list"), "a list"),
        }
    }

    fn selection(&self, selector: &str) -> ResourceRequest {
        ResourceRequest {
            name: String::new(),
            label_selector: selector.to_owned(),
            ..self.request(ResourceVerb::List, "")
        }
    }

    pub(super) async fn list_rules(&self) -> Lists {
        let limit = self.limit().await;
        let pages = match self.can(ResourceVerb::List) {
            Ok(()) => self.pages(1).await,
            Err(failed) => Err(failed),
        };
        let next_page = match &pages {
            Ok((_, continues)) if continues.is_empty() => not_applicable("there is one page alone"),
            Ok((_, continues)) => {
                let longest = continues.iter().map(String::len).max().unwrap_or_default();
                ensure(
                    longest <= MAX_CONTINUE,
                    || format!("{longest} bytes lead to the next page"),
                    format!("at most {MAX_CONTINUE}"),
                )
            }
            Err(_) => not_applicable("pages cannot be read"),
        };
        let in_order = match pages {
            Ok((one_by_one, _)) => self.is_whole(&one_by_one).await,
            Err(failed) => Err(failed),
        };
        Lists {
            limit,
            pages: in_order,
            next_page,
        }
    }

    async fn limit(&self) -> Checked {
        self.can(ResourceVerb::List)?;
        for (limit, most) in [(0, MAX_PAGE), (2, 2)] {
            let count = self.list(limit, "", "").await?.objects.len();
            ensure(
                count <= most,
                || format!("{count} objects for the limit {limit}"),
                format!("at most {most}"),
            )?;
        }
        Ok(())
    }

    /// The keys of all objects in pages of so many, and what led from page to page.
    async fn pages(&self, limit: u32) -> Checked<(Vec<String>, Vec<String>)> {
        let (mut keys, mut continues) = (Vec::new(), Vec::new());
        let mut after = String::new();
        for _ in 0..MOST_PAGES {
            let page = self.list(limit, &after, "").await?;
            keys.extend(page.objects.iter().map(|object| key(object)));
            after = page.r#continue;
            if after.is_empty() {
                break;
            }
            continues.push(after.clone());
        }
        Ok((keys, continues))
    }

    /// That the objects one by one are those of large pages, in their order, and the suite's own among them.
    async fn is_whole(&self, one_by_one: &[String]) -> Checked {
        let (at_once, _) = self.pages(0).await?;
        ensure(
            one_by_one == at_once,
            || format!("one by one {one_by_one:?}"),
            format!("as at once, {at_once:?}"),
        )?;
        let own = OBJECTS.map(|suffix| format!("{}/{}", self.namespace(), self.name(suffix)));
        match own
            .iter()
            .find(|own| at_once.iter().filter(|key| key == own).count() != 1)
        {
            Some(missing) => broken(format!("{missing} is not there once"), "each object, once"),
            None => Ok(()),
        }
    }

    pub(super) async fn bad_selector(&self) -> Checked {
        self.can(ResourceVerb::List)?;
        let answer = ask(self.world, self.selection("conformance in (")).await?;
        answer.refused(Code::InvalidArgument, "LIST with the selector \"conformance in (\"")
    }

    pub(super) async fn selector(&self) -> Checked {
        self.can(ResourceVerb::List)?;
        for (selector, wanted) in [
            (format!("{LABEL}={}", self.run), OBJECTS.len()),
            (format!("{LABEL}=none"), 0),
        ] {
            let count = self.list(0, "", &selector).await?.objects.len();
            ensure(
                count == wanted,
                || format!("{count} objects for the selector {selector:?}"),
                wanted,
            )?;
        }
        Ok(())
    }
}

fn key(object: &[u8]) -> String {
    let object: Value = serde_json::from_slice(object).unwrap_or_default();
    let text = |field: &str| {
        object
            .pointer(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"))
}
