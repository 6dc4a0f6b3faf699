//! The settings that were accepted last, as the author's type.

use std::{any::Any, fmt, ops::Deref, sync::Arc};

use arc_swap::ArcSwapOption;
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header::RETRY_AFTER, request::Parts},
    response::{IntoResponse, Response},
};

use super::{Kite, NotServed};

/// The settings that were accepted last, as the type that [`ApplySettings`](crate::ApplySettings) reads.
///
/// It is what they were when it was taken; a later request sees later ones. As an extractor it answers 503 until the operator
/// has sent the first.
pub struct Settings<T>(Arc<T>);

impl<T> Settings<T> {
    pub(crate) fn new(settings: T) -> Self {
        Self(Arc::new(settings))
    }
}

impl<T> Clone for Settings<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Settings<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// They may hold secrets, so that they show only where the author's own code shows them.
impl<T> fmt::Debug for Settings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings")
    }
}

/// Why there are no settings.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum NoSettings {
    /// The operator has not sent any that the plugin accepted.
    #[error("the plugin has no settings yet")]
    NotYet,
    /// The plugin reads its settings as another type, or not at all.
    #[error("Plugin::apply_settings does not read settings of this type: return ApplySettings of it there")]
    OtherType,
    /// The request did not come through the SDK.
    #[error(transparent)]
    NotServed(#[from] NotServed),
}

impl IntoResponse for NoSettings {
    fn into_response(self) -> Response {
        match self {
            Self::NotYet => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], self.to_string()).into_response(),
            Self::OtherType => {
                tracing::error!("{self}");
                (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
            }
            Self::NotServed(error) => error.into_response(),
        }
    }
}

impl<T: Send + Sync + 'static, S: Send + Sync> FromRequestParts<S> for Settings<T> {
    type Rejection = NoSettings;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, NoSettings> {
        let kite = <Kite as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        kite.settings()
    }
}

/// Settings of a type that is known to the author alone.
pub(crate) type Untyped = Arc<dyn Any + Send + Sync>;

/// What was accepted last. A pointer to a pointer, because what is swapped must be thin.
#[derive(Default)]
pub(crate) struct Current(ArcSwapOption<Untyped>);

impl Current {
    pub(super) fn get<T: Send + Sync + 'static>(&self) -> Result<Settings<T>, NoSettings> {
        let current = self.0.load_full().ok_or(NoSettings::NotYet)?;
        let typed = Arc::clone(&*current).downcast::<T>();
        typed.map(Settings).map_err(|_| NoSettings::OtherType)
    }

    pub(crate) fn set<T: Send + Sync + 'static>(&self, settings: Settings<T>) {
        let untyped: Untyped = settings.0;
        self.0.store(Some(Arc::new(untyped)));
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
