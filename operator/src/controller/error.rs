//! Why a look at a plugin has failed, and what is told of that.

use std::time::Duration;

use kite_api::error_chain;
use strum::IntoStaticStr;
use tokio::task::JoinError;

use super::{
    apply::ApplyError,
    gather::GatherError,
    host::HostError,
    removal::{ClearError, WithdrawError},
    status::{Refusal, Situation, StatusError},
};
use crate::{backoff::Trouble, defect::Defect, identity::authority::AuthorityError};

/// When what runs meanwhile is to be looked at, if that is before the next try.
type Again = Option<Duration>;

/// Why a plugin could not be brought to where it should be. All are tried again.
#[derive(Debug, IntoStaticStr, thiserror::Error)]
#[strum(serialize_all = "snake_case")]
pub enum ReconcileError {
    #[error("failed to read what the decision needs")]
    Gather(#[source] GatherError),
    #[error("failed to find out what the plugin runs with")]
    Host(#[source] HostError),
    #[error("failed to check the settings to the end")]
    Settings(#[source] JoinError),
    #[error("failed to issue the plugin's certificate")]
    Issue(#[source] AuthorityError),
    #[error("failed to withdraw what is no longer granted")]
    Withdraw(#[source] WithdrawError),
    #[error("failed to take the name over")]
    Clear(#[source] ClearError),
    #[error("failed to delete what is not kept any longer")]
    Forget(#[source] Box<kube::Error>),
    #[error("failed to apply the plugin's objects")]
    Apply(#[source] ApplyError, Again),
    /// It takes a change to end it.
    #[error("failed to apply the plugin's objects: {0}")]
    Refused(String, Box<Refusal>, Again),
    #[error("failed to tell the plugin's status")]
    Status(#[source] StatusError),
    #[error(transparent)]
    Panicked(#[from] Defect),
}

impl ReconcileError {
    /// When what runs meanwhile is to be looked at.
    pub(super) fn again(&self) -> Again {
        match self {
            Self::Apply(_, again) | Self::Refused(_, _, again) => *again,
            _ => None,
        }
    }

    /// What stands of it until it is tried again.
    pub(super) fn trouble(&self) -> Trouble {
        match self {
            Self::Refused(message, ..) => Trouble {
                refused: true,
                message: message.clone(),
            },
            other => Trouble {
                refused: false,
                message: error_chain(other),
            },
        }
    }

    /// What is told of it, with a message; nothing, if it is the telling that failed.
    pub(super) fn situation(&self) -> Option<impl FnOnce(String) -> Situation> {
        let refusal = match self {
            Self::Status(_) => return None,
            Self::Refused(_, refusal, _) => Some(refusal.as_ref().clone()),
            Self::Gather(_)
            | Self::Host(_)
            | Self::Settings(_)
            | Self::Issue(_)
            | Self::Withdraw(_)
            | Self::Clear(_)
            | Self::Forget(_)
            | Self::Apply(..)
            | Self::Panicked(_) => None,
        };
        Some(move |message| match refusal {
            Some(refusal) => Situation::Refused { message, refusal },
            None => Situation::Failing { message },
        })
    }
}
