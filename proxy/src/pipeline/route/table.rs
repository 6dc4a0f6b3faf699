//! The one table of all routes: where each is, which methods it takes, what is asked of whoever comes, and what it is for.
//! Requests are matched by it, and the `OpenAPI` document is made from it.

use http::Method;
use kite_api::Verb;
use schemars::SchemaGenerator;

use super::{
    Route,
    row::{About, Answer, Content, Needed, Operation, Path, Query, Row, Tail},
};
use crate::{
    metrics::OPEN_METRICS,
    openapi,
    pipeline::{authorize::Part, list, own, session, tool},
};

/// All that is open before login: the path, and the methods. Whoever adds to this list adds what anybody may ask.
pub const OPEN: [(&str, &[Method]); 4] = [
    ("/healthz", &[Method::GET, Method::HEAD]),
    ("/readyz", &[Method::GET, Method::HEAD]),
    ("/openapi.json", &[Method::GET, Method::HEAD]),
    ("/api/v1/session", &[Method::POST]),
];

/// All routes. Of two that fit a path the first counts.
pub const TABLE: [&Row; 10] = [
    &HEALTH, &READY, &DOCUMENT, &METRICS, &SESSION, &PLUGINS, &MANIFESTS, &TOOLS, &TOOL, &PLUGIN,
];

const READ: &[(Method, Verb)] = &[(Method::GET, Verb::Get), (Method::HEAD, Verb::Get)];
const READ_ALLOW: &str = "GET, HEAD";

const fn at(literal: &'static str) -> Path {
    Path {
        literal,
        tail: Tail::Nothing,
    }
}

pub(super) static HEALTH: Row = Row {
    paths: &[at("/healthz")],
    make: |_, _| Route::Health,
    right: Needed::Nothing,
    allow: READ_ALLOW,
    operations: &[Operation {
        methods: READ,
        about: About {
            id: "Health",
            summary: "Whether the gateway lives",
            description: "For the probe of the kubelet.",
            query: &[],
            body: Content::Nothing,
            answers: &[Answer {
                status: 200,
                description: "It lives.",
                content: Content::Json(SchemaGenerator::subschema_for::<own::Alive>, ""),
            }],
            problems: &[],
        },
    }],
};

pub(super) static READY: Row = Row {
    paths: &[at("/readyz")],
    make: |_, _| Route::Ready,
    right: Needed::Nothing,
    allow: READ_ALLOW,
    operations: &[Operation {
        methods: READ,
        about: About {
            id: "Ready",
            summary: "Whether the gateway should get traffic",
            description: "For the probe of the kubelet: ready between its first list of plugins and its end. The answer says what was looked \
                          at, whether it is ready or not.",
            query: &[],
            body: Content::Nothing,
            answers: &[Answer {
                status: 200,
                description: "It takes traffic.",
                content: Content::Json(SchemaGenerator::subschema_for::<own::Ready>, ""),
            }],
            problems: &["not-ready"],
        },
    }],
};

pub(super) static DOCUMENT: Row = Row {
    paths: &[at("/openapi.json")],
    make: |_, _| Route::Document,
    right: Needed::Nothing,
    allow: READ_ALLOW,
    operations: &[Operation {
        methods: READ,
        about: About {
            id: "OpenApi",
            summary: "This document",
            description: "The same for everybody, and for as long as the gateway runs; it says nothing of plugins or callers. \
                          With `If-None-Match` and its `ETag` the answer is 304.",
            query: &[],
            body: Content::Nothing,
            answers: &[
                Answer {
                    status: 200,
                    description: "An OpenAPI document.",
                    content: Content::Json(
                        |_| schemars::json_schema!({"type": "object", "required": ["openapi", "info", "paths"]}),
                        "",
                    ),
                },
                Answer {
                    status: 304,
                    description: "It is the one that the caller has.",
                    content: Content::Nothing,
                },
            ],
            problems: &[],
        },
    }],
};

pub(super) static METRICS: Row = Row {
    paths: &[at(super::METRICS)],
    make: |_, _| Route::Metrics,
    right: Needed::OfUrl,
    allow: READ_ALLOW,
    operations: &[Operation {
        methods: READ,
        about: About {
            id: "Metrics",
            summary: "What is counted",
            description: "In the text format of OpenMetrics. Needs `get` on the URL `/metrics`.",
            query: &[],
            body: Content::Nothing,
            answers: &[Answer {
                status: 200,
                description: "The figures.",
                content: Content::Text(OPEN_METRICS),
            }],
            problems: &["forbidden", "authorization-unavailable"],
        },
    }],
};

pub(super) static SESSION: Row = Row {
    paths: &[at("/api/v1/session")],
    make: |_, _| Route::Session,
    right: Needed::Nothing,
    allow: "GET, HEAD, POST, DELETE",
    operations: &[
        Operation {
            methods: READ,
            about: About {
                id: "Session",
                summary: "Who the caller is",
                description: "And by what they are known, whether changes can be made as them, and when that ends.",
                query: &[],
                body: Content::Nothing,
                answers: &[Answer {
                    status: 200,
                    description: "Who calls.",
                    content: Content::Json(SchemaGenerator::subschema_for::<session::Told<'_>>, ""),
                }],
                problems: &[],
            },
        },
        Operation {
            methods: &[(Method::POST, Verb::Create)],
            about: About {
                id: "LogIn",
                summary: "Log in",
                description: "Begins a session with a token of the cluster, and gives it as the cookie `auth_token`. Only the dashboard's \
                              own pages may ask.",
                query: &[],
                body: Content::Json(
                    SchemaGenerator::subschema_for::<session::Login>,
                    r#"{"token": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}"#,
                ),
                answers: &[Answer {
                    status: 201,
                    description: "Who the caller is from now on.",
                    content: Content::Json(SchemaGenerator::subschema_for::<session::Told<'_>>, ""),
                }],
                problems: &[
                    "invalid-body",
                    "broken-body",
                    "body-timeout",
                    "body-too-large",
                    "unsupported-media-type",
                    "token-too-large",
                    "unauthenticated",
                    "authentication-unavailable",
                    "sessions-unavailable",
                    "cross-site",
                    "too-many-attempts",
                ],
            },
        },
        Operation {
            methods: &[(Method::DELETE, Verb::Delete)],
            about: About {
                id: "LogOut",
                summary: "Log out",
                description: "Ends the session by which the caller is known, on every gateway.",
                query: &[],
                body: Content::Nothing,
                answers: &[Answer {
                    status: 204,
                    description: "The session is over.",
                    content: Content::Nothing,
                }],
                problems: &["no-session"],
            },
        },
    ],
};

pub(super) static PLUGINS: Row = Row {
    paths: &[at("/api/v1/plugins/"), at("/api/v1/plugins")],
    make: |_, _| Route::Plugins,
    right: Needed::Nothing,
    allow: READ_ALLOW,
    operations: &[Operation {
        methods: READ,
        about: About {
            id: "Plugins",
            summary: "The plugins that the caller may see",
            description: "Those with `get` on `kiteplugins` or on `kiteplugins/proxy`, sorted by name.",
            query: &[],
            body: Content::Nothing,
            answers: &[Answer {
                status: 200,
                description: "The plugins.",
                content: Content::Json(SchemaGenerator::subschema_for::<Vec<list::Item>>, ""),
            }],
            problems: &["authorization-unavailable", "not-ready"],
        },
    }],
};

pub(super) static MANIFESTS: Row = Row {
    paths: &[
        at("/api/v1/plugins/manifests"),
        at("/api/v1/plugins/manifests/"),
        at("/api/v1/plugins/frontends"),
        at("/api/v1/plugins/frontends/"),
    ],
    make: |_, _| Route::Manifests,
    right: Needed::Nothing,
    allow: READ_ALLOW,
    operations: &[Operation {
        methods: READ,
        about: About {
            id: "Manifests",
            summary: "The web pages of loaded plugins",
            description: "None yet.",
            query: &[],
            body: Content::Nothing,
            answers: &[Answer {
                status: 200,
                description: "An empty list.",
                content: Content::Json(|_| schemars::json_schema!({"type": "array", "maxItems": 0}), ""),
            }],
            problems: &[],
        },
    }],
};

pub(super) static TOOLS: Row = Row {
    paths: &[at("/api/v1/plugins/tools"), at("/api/v1/plugins/tools/")],
    make: |_, _| Route::Tools,
    right: Needed::Nothing,
    allow: READ_ALLOW,
    operations: &[Operation {
        methods: READ,
        about: About {
            id: "Tools",
            summary: "The tools that the caller may call",
            description: "Those of plugins on which the caller has `create` on `kiteplugins/tools`, if they have the rights that every \
                          call needs too. Of a plugin that cannot be reached there are none.",
            query: &[Query {
                name: "plugin",
                description: "The plugin whose tools are listed; without it those of all are.",
                pattern: openapi::NAME,
                example: "hello",
            }],
            body: Content::Nothing,
            answers: &[Answer {
                status: 200,
                description: "The tools.",
                content: Content::Json(SchemaGenerator::subschema_for::<Vec<tool::list::Item>>, ""),
            }],
            problems: &[
                "invalid-name",
                "list-too-large",
                "authorization-unavailable",
                "not-ready",
            ],
        },
    }],
};

pub(super) static TOOL: Row = Row {
    paths: &[Path {
        literal: "/api/v1/plugins/tools/",
        tail: Tail::Tool,
    }],
    make: |name, _| Route::Tool { name },
    right: Needed::OfPlugin(Part::Tools),
    allow: "POST",
    operations: &[Operation {
        methods: &[(Method::POST, Verb::Create)],
        about: About {
            id: "CallTool",
            summary: "Call a tool",
            description: "The arguments are compared with the tool's schema before the plugin sees them. Those who accept \
                          `text/event-stream` get any number of events `progress`, and then `result` or `error`, whose data is what \
                          the answer, or its problem document, would have been.",
            query: &[],
            body: Content::Json(
                SchemaGenerator::subschema_for::<tool::Body<'_>>,
                r#"{"arguments": {"name": "Kite"}}"#,
            ),
            answers: &[Answer {
                status: 200,
                description: "What the tool gives.",
                content: Content::JsonOrEvents(SchemaGenerator::subschema_for::<tool::Answer<'_>>),
            }],
            problems: &[
                "no-such-tool",
                "body-too-large",
                "broken-body",
                "body-timeout",
                "invalid-body",
                "invalid-parameter",
                "plugin-lacks-right",
                "caller-lacks-right",
                "arguments-refused",
                "tool-forbidden",
                "tool-failed",
                "plugin-failed",
                "plugin-answer-invalid",
                "plugin-busy",
                "plugin-timeout",
            ],
        },
    }],
};

pub(super) static PLUGIN: Row = Row {
    paths: &[Path {
        literal: "/api/v1/plugins/",
        tail: Tail::Plugin,
    }],
    make: |name, below| Route::Plugin { name, below },
    right: Needed::OfPlugin(Part::Proxy),
    allow: "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE",
    operations: &[Operation {
        methods: &[
            (Method::GET, Verb::Get),
            (Method::HEAD, Verb::Get),
            (Method::OPTIONS, Verb::Get),
            (Method::POST, Verb::Create),
            (Method::PUT, Verb::Update),
            (Method::PATCH, Verb::Patch),
            (Method::DELETE, Verb::Delete),
        ],
        about: About {
            id: "Plugin",
            summary: "A route of a plugin",
            description: "Passed on to the plugin, whose answer comes back; a GET may upgrade the connection to a WebSocket. The path may \
                          have any number of segments, of which the first is neither `static` nor `resources`.",
            query: &[],
            body: Content::Any,
            answers: &[],
            problems: &[
                "invalid-handshake",
                "websocket-version",
                "upgrade-unsupported",
                "ambiguous-query",
                "invalid-parameter",
                "unsupported-media-type",
                "invalid-body",
                "body-too-large",
                "broken-body",
                "body-timeout",
                "plugin-lacks-right",
                "caller-lacks-right",
                "plugin-failed",
                "plugin-answer-invalid",
                "plugin-busy",
                "plugin-timeout",
            ],
        },
    }],
};
