//! Logging in, being told who one is, logging out.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Gateway, RequestBody, ResponseBody,
    arrival::{Arrival, Way},
    authenticate::{Authenticator, BearerToken},
    authorize::Authorizer,
    full, json,
    same_origin::{self, Asked},
    whole_body::{WholeBodyError, whole},
};
use crate::{
    directory::Directory,
    moment::Moment,
    peer::Peer,
    problem::Refusal,
    session::{Sessions, expiry},
};

/// Most bytes of what somebody logs in with: more than a session can hold.
const MOST: usize = 16 * 1024;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Why nobody can log in with a body.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("send `{{\"token\": \"…\"}}` with Content-Type: application/json")]
    MediaType,
    #[error("failed to read the body")]
    Body(#[source] WholeBodyError),
    /// The parser's own words are left out: they may hold what is no token of the form.
    #[error("failed to find `{{\"token\": \"…\"}}` in the body")]
    Parse,
    #[error("failed to find a token in the text")]
    Token,
}

/// What one logs in with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// A bearer token. One of more bytes may be too large for the cookies of a session.
    #[schemars(regex(pattern = "^[!-~]+$"), length(max = 8000))]
    token: String,
}

/// What one is told of oneself.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told<'a> {
    user: User<'a>,
    method: &'static str,
    /// Whether changes can be made as oneself: with a credential that the API server takes.
    can_forward_credential: bool,
    /// When the credential, or the session at the latest, ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// When the session ends if it is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_until: Option<String>,
}

/// Who one is, in the terms of Kubernetes.
#[derive(JsonSchema, Serialize)]
struct User<'a> {
    name: &'a str,
    uid: &'a str,
    groups: &'a [String],
}

impl<N: Authenticator, Z: Authorizer, D: Directory> Gateway<N, Z, D> {
    /// What is done with a session by whom one knows: told of it, or ended.
    pub(super) async fn session(&self, arrival: &Arrival, method: &Method, headers: &HeaderMap) -> Answer {
        if *method != Method::DELETE {
            return Ok(self.told(arrival));
        }
        let (sessions, Way::Session(session)) = (self.sessions()?, &arrival.way) else {
            return Err(Refusal::NoSession);
        };
        let cookies = sessions.end(session, headers).await.map_err(Refusal::Session)?;
        let mut response = Response::new(full(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let fields = response.headers_mut();
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // What the browser keeps for itself is of this caller, and the next may be another.
        fields.insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
        give(fields, cookies);
        Ok(response)
    }

    /// Begins a session with the token in the body. Nobody is known yet, and another page could log somebody in as another.
    pub(super) async fn log_in(&self, request: Request<RequestBody>) -> Answer {
        let sessions = self.sessions()?;
        let (parts, body) = request.into_parts();
        let asked = Asked {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
        };
        same_origin::prove(asked, &self.entrance.origins).map_err(Refusal::CrossSite)?;
        let token = self.token(&parts, body).await.map_err(Refusal::Login)?;
        let caller = self.identify(&token, parts.extensions.get::<Peer>()).await?;
        let slowdown = &self.entrance.slowdown;
        slowdown.session(caller.identity()).await.map_err(Refusal::TooMany)?;
        let now = Moment::now();
        let session = sessions.begin(token, now);
        let cookies = sessions.give(&session, now, &parts.headers).map_err(Refusal::Session)?;
        // A browser has one session. An answer that is still under way could else bring the former back.
        if let Ok(Some(former)) = sessions.find(&parts.headers, now) {
            sessions.end(&former, &parts.headers).await.map_err(Refusal::Session)?;
        }
        let way = Way::Session(session);
        let mut response = self.told(&Arrival { caller, way });
        *response.status_mut() = StatusCode::CREATED;
        give(response.headers_mut(), cookies);
        Ok(response)
    }

    async fn token(&self, parts: &request::Parts, body: RequestBody) -> Result<BearerToken, LoginError> {
        // Whatever a form of another page can send without asking is something else.
        if !is_json(&parts.headers) {
            return Err(LoginError::MediaType);
        }
        let body = whole(body, MOST, self.body_timeout).await.map_err(LoginError::Body)?;
        // A list would be taken for the fields in their order.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(LoginError::Parse);
        }
        let login: Login = serde_json::from_slice(&body).map_err(|_| LoginError::Parse)?;
        BearerToken::parse(&login.token).ok_or(LoginError::Token)
    }

    /// The cookies of a session that was used, if it is time to give them anew.
    pub(super) fn renewed(&self, arrival: &Arrival, headers: &HeaderMap) -> Vec<HeaderValue> {
        let (Some(sessions), Way::Session(session)) = (&self.entrance.sessions, &arrival.way) else {
            return Vec::new();
        };
        let now = Moment::now();
        if !sessions.is_due(session, now) {
            return Vec::new();
        }
        // The session goes on with the cookie that the caller has.
        sessions.give(session, now, headers).unwrap_or_else(|error| {
            tracing::debug!(error = kite_api::error_chain(&error), "session not renewed");
            Vec::new()
        })
    }

    fn sessions(&self) -> Result<&Sessions, Refusal> {
        self.entrance.sessions.as_ref().ok_or(Refusal::NoRoute)
    }

    fn told(&self, arrival: &Arrival) -> Response<ResponseBody> {
        let lasting = self.entrance.sessions.as_ref().map(Sessions::lasting);
        let (method, expires, idle) = match &arrival.way {
            Way::Bearer(token) => ("bearer", expiry::of(token), None),
            Way::Session(session) => {
                let idle = lasting.map(|lasting| session.ends(lasting));
                ("session", Some(session.until()), idle)
            }
            Way::Certificate { until } => ("certificate", Some(*until), None),
            Way::Proxy => ("proxy", None, None),
        };
        let caller = &arrival.caller;
        json(&Told {
            user: User {
                name: caller.name(),
                uid: caller.uid(),
                groups: caller.groups(),
            },
            method,
            can_forward_credential: arrival.credential().is_some(),
            expires_at: expires.and_then(Moment::text),
            idle_until: idle.and_then(Moment::text),
        })
    }
}

/// Sets the cookies of an answer.
pub(super) fn give(headers: &mut HeaderMap, cookies: Vec<HeaderValue>) {
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}
