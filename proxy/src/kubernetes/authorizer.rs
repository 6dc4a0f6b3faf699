//! What callers may do, by `SubjectAccessReview`.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kite_api::KitePlugin;
use kube::{Api, Client, Resource as _, api::PostParams};

use super::{ReviewError, reviewed};
use crate::pipeline::{
    authenticate::Caller,
    authorize::{Access, AuthorizeError, Authorizer},
};

/// Asks the API server about each right.
pub struct SubjectAccessReviews(Api<SubjectAccessReview>);

impl SubjectAccessReviews {
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

impl Authorizer for SubjectAccessReviews {
    async fn allows(&self, caller: &Caller, access: Access<'_>) -> Result<bool, AuthorizeError> {
        let review = SubjectAccessReview {
            spec: spec(caller, access),
            ..SubjectAccessReview::default()
        };
        let answer = reviewed(self.0.create(&PostParams::default(), &review)).await;
        let status = answer.and_then(|review| review.status.ok_or(ReviewError::NoStatus));
        Ok(allowed(&status.map_err(|error| AuthorizeError(error.into()))?))
    }
}

fn spec(caller: &Caller, access: Access<'_>) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: Some(caller.name.clone()),
        uid: Some(caller.uid.clone()),
        groups: Some(caller.groups.clone()),
        extra: Some(caller.extra.clone()),
        resource_attributes: Some(ResourceAttributes {
            group: Some(KitePlugin::group(&()).into_owned()),
            version: Some(KitePlugin::version(&()).into_owned()),
            resource: Some(KitePlugin::plural(&()).into_owned()),
            subresource: access.part.subresource().map(str::to_owned),
            name: Some(access.plugin.as_str().to_owned()),
            verb: Some(access.verb.as_str().to_owned()),
            ..ResourceAttributes::default()
        }),
        non_resource_attributes: None,
    }
}

fn allowed(status: &SubjectAccessReviewStatus) -> bool {
    status.allowed && status.denied != Some(true)
}

#[cfg(test)]
mod tests {
    use kite_api::{PluginName, Verb};
    use serde_json::json;

    use super::*;
    use crate::pipeline::authorize::Part;

    #[test]
    fn the_whole_caller_and_the_right_are_asked_about() {
        let caller = Caller {
            name: "jane".to_owned(),
            uid: "u-1".to_owned(),
            groups: vec!["dev".to_owned()],
            extra: [("scopes".to_owned(), vec!["a".to_owned()])].into(),
        };
        let plugin = PluginName::parse("hello").unwrap();
        let asked = spec(
            &caller,
            Access {
                part: Part::Proxy,
                verb: Verb::Create,
                plugin: &plugin,
            },
        );
        let expected = json!({
            "user": "jane",
            "uid": "u-1",
            "groups": ["dev"],
            "extra": {"scopes": ["a"]},
            "resourceAttributes": {
                "group": "kite.dev",
                "version": "v1alpha1",
                "resource": "kiteplugins",
                "subresource": "proxy",
                "name": "hello",
                "verb": "create",
            },
        });
        assert_eq!(serde_json::to_value(asked).unwrap(), expected);
    }

    #[test]
    fn a_denial_outweighs_a_permission() {
        let status = |allowed, denied| SubjectAccessReviewStatus {
            allowed,
            denied,
            ..SubjectAccessReviewStatus::default()
        };
        assert!(allowed(&status(true, None)));
        assert!(allowed(&status(true, Some(false))));
        assert!(!allowed(&status(true, Some(true))));
        assert!(!allowed(&status(false, None)));
    }
}
