//! All types of problems: the one table of what a client may rely on.

use http::StatusCode;

macro_rules! kinds {
    ($($kind:ident: $status:ident, $slug:literal, $title:literal;)*) => {
        /// What sort of problem it is.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            /// Each, sorted by status and slug.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The status of the answer.
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
                }
            }

            /// Last part of the problem's type. Stable.
            pub fn slug(self) -> &'static str {
                match self {
                    $(Self::$kind => $slug,)*
                }
            }

            /// The same for every problem of a type.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)*
                }
            }
        }
    };
}

kinds! {
    AmbiguousCluster: BAD_REQUEST, "ambiguous-cluster", "The cluster can be read in more than one way";
    AmbiguousPath: BAD_REQUEST, "ambiguous-path", "The path can be read in more than one way";
    AmbiguousQuery: BAD_REQUEST, "ambiguous-query", "The query can be read in more than one way";
    BrokenBody: BAD_REQUEST, "broken-body", "The body broke off";
    InvalidBody: BAD_REQUEST, "invalid-body", "The body is malformed";
    InvalidHandshake: BAD_REQUEST, "invalid-handshake", "The WebSocket handshake is malformed";
    InvalidName: BAD_REQUEST, "invalid-name", "The name is malformed";
    InvalidParameter: BAD_REQUEST, "invalid-parameter", "A parameter is malformed";
    InvalidRequest: BAD_REQUEST, "invalid-request", "The request can be read in more than one way";
    InvalidRevision: BAD_REQUEST, "invalid-revision", "The revision is not a number, or there are several";
    ListTooLarge: BAD_REQUEST, "list-too-large", "The list is too large";
    Unauthenticated: UNAUTHORIZED, "unauthenticated", "The caller is not known";
    CallerLacksRight: FORBIDDEN, "caller-lacks-right", "The caller lacks a right that the plugin requires";
    CrossSite: FORBIDDEN, "cross-site", "The request does not come from the dashboard";
    Forbidden: FORBIDDEN, "forbidden", "The caller may not do this";
    PluginLacksRight: FORBIDDEN, "plugin-lacks-right", "The plugin was not granted a right that it requires";
    ToolForbidden: FORBIDDEN, "tool-forbidden", "The plugin refuses the caller";
    NoSuchCluster: NOT_FOUND, "no-such-cluster", "There is no such cluster";
    NoSuchPlugin: NOT_FOUND, "no-such-plugin", "There is no such plugin";
    NoSuchRoute: NOT_FOUND, "no-such-route", "There is no such route";
    NoSuchTool: NOT_FOUND, "no-such-tool", "There is no such tool";
    MethodNotAllowed: METHOD_NOT_ALLOWED, "method-not-allowed", "The route does not take this method";
    BodyTimeout: REQUEST_TIMEOUT, "body-timeout", "The body did not come in time";
    NoSession: CONFLICT, "no-session", "There is no session to end";
    RevisionGone: CONFLICT, "revision-gone", "The revision takes no requests any longer";
    BodyTooLarge: PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    TokenTooLarge: PAYLOAD_TOO_LARGE, "token-too-large", "The token is too large for a session";
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not JSON";
    ArgumentsRefused: UNPROCESSABLE_ENTITY, "arguments-refused", "The tool refuses the arguments";
    WebsocketVersion: UPGRADE_REQUIRED, "websocket-version", "The version of WebSocket is another";
    TooManyAttempts: TOO_MANY_REQUESTS, "too-many-attempts", "Too many tokens were refused";
    TooManyFields: REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-fields", "The request has too many header fields";
    AuditFailed: INTERNAL_SERVER_ERROR, "audit-failed", "The operation was made and not recorded";
    UpgradeUnsupported: NOT_IMPLEMENTED, "upgrade-unsupported", "The connection cannot be upgraded";
    PluginAnswerInvalid: BAD_GATEWAY, "plugin-answer-invalid", "The plugin's answer is not valid";
    PluginFailed: BAD_GATEWAY, "plugin-failed", "The plugin failed";
    ToolFailed: BAD_GATEWAY, "tool-failed", "The tool failed";
    AuditUnavailable: SERVICE_UNAVAILABLE, "audit-unavailable", "The operation could not be recorded";
    AuthenticationUnavailable: SERVICE_UNAVAILABLE, "authentication-unavailable", "The caller could not be checked";
    AuthorizationUnavailable: SERVICE_UNAVAILABLE, "authorization-unavailable", "The caller's rights could not be checked";
    NoEndpoint: SERVICE_UNAVAILABLE, "no-endpoint", "No pod of the plugin can be reached";
    NotLoaded: SERVICE_UNAVAILABLE, "not-loaded", "The plugin is not loaded";
    NotReady: SERVICE_UNAVAILABLE, "not-ready", "The gateway is not ready";
    PluginBusy: SERVICE_UNAVAILABLE, "plugin-busy", "The plugin is busy";
    SessionsUnavailable: SERVICE_UNAVAILABLE, "sessions-unavailable", "The session could not be begun, checked or ended";
    PluginTimeout: GATEWAY_TIMEOUT, "plugin-timeout", "The plugin did not answer in time";
}
