//! What callers may do, by `SubjectAccessReview`.

use std::sync::Arc;

use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kite_api::{
    KitePlugin, PluginName, Verb,
    rights::{Place, Right},
};
use kube::{Api, Client, Resource as _, api::PostParams};

use super::{ReviewError, reviewed};
use crate::pipeline::{
    authenticate::Caller,
    authorize::{Access, AuthorizeError, Authorizer, Part},
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
        Ok(allowed(&status.map_err(|error| AuthorizeError(Arc::new(error)))?))
    }
}

fn spec(caller: &Caller, access: Access<'_>) -> SubjectAccessReviewSpec {
    let (resource, non_resource) = match access {
        Access::Plugin { part, verb, plugin } => (Some(on_plugin(part, verb, plugin)), None),
        Access::Cluster(right) => (Some(in_cluster(right)), None),
        Access::NonResource { path } => (None, Some(to_read(path))),
    };
    SubjectAccessReviewSpec {
        user: Some(caller.name().to_owned()),
        uid: Some(caller.uid().to_owned()),
        groups: Some(caller.groups().to_vec()),
        extra: Some(caller.extra().clone()),
        resource_attributes: resource,
        non_resource_attributes: non_resource,
    }
}

fn to_read(path: &str) -> NonResourceAttributes {
    NonResourceAttributes {
        path: Some(path.to_owned()),
        verb: Some(Verb::Get.as_str().to_owned()),
    }
}

fn on_plugin(part: Part, verb: Verb, plugin: &PluginName) -> ResourceAttributes {
    ResourceAttributes {
        group: Some(KitePlugin::group(&()).into_owned()),
        version: Some(KitePlugin::version(&()).into_owned()),
        resource: Some(KitePlugin::plural(&()).into_owned()),
        subresource: part.subresource().map(str::to_owned),
        name: Some(plugin.as_str().to_owned()),
        verb: Some(verb.as_str().to_owned()),
        ..ResourceAttributes::default()
    }
}

/// Of whatever version of the group: rights do not tell versions apart. No namespace is all of them, and no name every object.
fn in_cluster(right: &Right) -> ResourceAttributes {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (right.resource.as_str(), None),
    };
    ResourceAttributes {
        group: Some(right.group.clone()),
        version: Some("*".to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        namespace: match &right.place {
            Place::Namespace(name) => Some(name.clone()),
            Place::Cluster => None,
        },
        name: right.name.clone(),
        verb: Some(right.verb.as_str().to_owned()),
        ..ResourceAttributes::default()
    }
}

fn allowed(status: &SubjectAccessReviewStatus) -> bool {
    status.allowed && status.denied != Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jane() -> Caller {
        Caller::new(
            "jane".to_owned(),
            "u-1".to_owned(),
            vec!["dev".to_owned()],
            [("scopes".to_owned(), vec!["a".to_owned()])].into(),
        )
    }

    #[test]
    fn the_whole_caller_and_the_right_are_asked_about() {
        let plugin = PluginName::parse("hello").unwrap();
        let access = Access::Plugin {
            part: Part::Proxy,
            verb: Verb::Create,
            plugin: &plugin,
        };
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
        assert_eq!(serde_json::to_value(spec(&jane(), access)).unwrap(), expected);
    }

    #[test]
    fn a_right_of_the_cluster_is_asked_about_as_the_api_server_knows_it() {
        let asked = |right: &Right| serde_json::to_value(in_cluster(right)).unwrap();
        let log = Right {
            group: String::new(),
            resource: "pods/log".to_owned(),
            verb: Verb::Get,
            place: Place::Namespace("shop".to_owned()),
            name: Some("a".to_owned()),
        };
        let expected = json!({
            "group": "", "version": "*", "resource": "pods", "subresource": "log",
            "namespace": "shop", "name": "a", "verb": "get",
        });
        assert_eq!(asked(&log), expected);
        let all = Right {
            group: "apps".to_owned(),
            resource: "deployments".to_owned(),
            verb: Verb::List,
            place: Place::Cluster,
            name: None,
        };
        let expected = json!({"group": "apps", "version": "*", "resource": "deployments", "verb": "list"});
        assert_eq!(asked(&all), expected);
    }

    #[test]
    fn what_is_no_object_is_asked_about_by_its_path() {
        let spec = serde_json::to_value(spec(&jane(), Access::NonResource { path: "/metrics" })).unwrap();
        assert_eq!(
            spec["nonResourceAttributes"],
            json!({"path": "/metrics", "verb": "get"})
        );
        assert!(spec.get("resourceAttributes").is_none(), "{spec}");
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
