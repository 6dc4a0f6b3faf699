//! Which sort of route a request is for: one of a few, however many paths there are.

use http::Method;

use crate::pipeline::route::Route;

/// A sort of route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    Health,
    Ready,
    Document,
    Session,
    Metrics,
    Plugins,
    Manifests,
    Tools,
    Tool,
    Plugin,
    WebSocket,
    /// No route at all, or a path that is none.
    Nothing,
}

impl Class {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Health,
        Self::Ready,
        Self::Document,
        Self::Session,
        Self::Metrics,
        Self::Plugins,
        Self::Manifests,
        Self::Tools,
        Self::Tool,
        Self::Plugin,
        Self::WebSocket,
        Self::Nothing,
    ];

    pub fn of(route: Route<'_>) -> Self {
        match route {
            Route::Health => Self::Health,
            Route::Ready => Self::Ready,
            Route::Document => Self::Document,
            Route::Session => Self::Session,
            Route::Metrics => Self::Metrics,
            Route::Plugins => Self::Plugins,
            Route::Manifests => Self::Manifests,
            Route::Tools => Self::Tools,
            Route::Tool { .. } => Self::Tool,
            Route::Plugin { .. } => Self::Plugin,
            Route::Unknown | Route::Outside => Self::Nothing,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Document => "document",
            Self::Session => "session",
            Self::Metrics => "metrics",
            Self::Plugins => "plugins",
            Self::Manifests => "manifests",
            Self::Tools => "tools",
            Self::Tool => "tool",
            Self::Plugin => "plugin",
            Self::WebSocket => "websocket",
            Self::Nothing => "none",
        }
    }
}

/// Whether a method reads or changes, as far as its name says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doing {
    Read,
    Change,
}

impl Doing {
    pub const ALL: [Self; 2] = [Self::Read, Self::Change];

    pub fn of(method: &Method) -> Self {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            Self::Read
        } else {
            Self::Change
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Change => "change",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_is_at_its_place_and_has_a_name_of_its_own() {
        for (place, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
            assert_eq!(Class::ALL.iter().filter(|it| it.as_str() == class.as_str()).count(), 1);
        }
    }
}
