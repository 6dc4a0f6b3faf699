//! An API server that has one `KitePlugin` at most, and says what a user may do; nothing may be changed on it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::registry::serve;

/// What the server says.
#[derive(Clone, Default)]
pub(crate) struct Says {
    /// The plugin that is there.
    pub(crate) plugin: Option<Value>,
    /// Whether the plugin may be seen.
    pub(crate) is_hidden: bool,
    /// Whether reviews are refused.
    pub(crate) refuses_reviews: bool,
    /// What of `verb resource name` the user may not do.
    pub(crate) denied: Vec<&'static str>,
    /// Whether the user may escalate.
    pub(crate) escalates: bool,
    /// Who is to be asked about, and their groups.
    pub(crate) user: Option<(&'static str, Vec<&'static str>)>,
    /// How many reviews it is about now, and how many it was at once at most.
    pub(crate) now: Arc<AtomicUsize>,
    pub(crate) most: Arc<AtomicUsize>,
}

impl Says {
    pub(crate) async fn start(self) -> SocketAddr {
        let routes = Router::new()
            .route("/apis/kite.dev/v1alpha1/kiteplugins/{name}", get(plugin))
            .route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", post(review))
            .with_state(self);
        serve(routes).await
    }

    fn check_user(&self, headers: &HeaderMap) {
        let user = headers.get("impersonate-user").map(|user| user.to_str().unwrap());
        let groups = headers.get_all("impersonate-group").iter();
        let groups: Vec<&str> = groups.map(|group| group.to_str().unwrap()).collect();
        let expected = self.user.clone();
        assert_eq!(user, expected.as_ref().map(|(user, _)| *user));
        assert_eq!(groups, expected.map(|(_, groups)| groups).unwrap_or_default());
    }
}

fn status(code: StatusCode, reason: &str, message: &str, details: &Value) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": message, "details": details,
    });
    (code, Json(status)).into_response()
}

async fn plugin(State(says): State<Says>, headers: HeaderMap, Path(name): Path<String>) -> Response {
    says.check_user(&headers);
    let details = json!({"name": name, "group": "kite.dev", "kind": "kiteplugins"});
    if says.is_hidden {
        let message = format!("kiteplugins.kite.dev {name:?} is forbidden");
        return status(StatusCode::FORBIDDEN, "Forbidden", &message, &details);
    }
    if let Some(plugin) = says.plugin {
        return Json(plugin).into_response();
    }
    let message = format!("kiteplugins.kite.dev {name:?} not found");
    status(StatusCode::NOT_FOUND, "NotFound", &message, &details)
}

async fn review(State(says): State<Says>, headers: HeaderMap, Json(mut review): Json<Value>) -> Response {
    says.check_user(&headers);
    if says.refuses_reviews {
        let message = "selfsubjectaccessreviews.authorization.k8s.io is forbidden";
        return status(StatusCode::FORBIDDEN, "Forbidden", message, &json!({}));
    }
    says.most
        .fetch_max(says.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    tokio::task::yield_now().await;
    let attributes = &review["spec"]["resourceAttributes"];
    let text = |field: &str| attributes[field].as_str().unwrap_or_default().to_owned();
    let asked = format!("{} {} {}", text("verb"), text("resource"), text("name"));
    let is_denied = says.denied.iter().any(|denied| asked.trim() == *denied);
    let allowed = if text("verb") == "escalate" {
        says.escalates
    } else {
        !is_denied
    };
    review["status"] = json!({"allowed": allowed});
    says.now.fetch_sub(1, Ordering::SeqCst);
    (StatusCode::CREATED, Json(review)).into_response()
}
