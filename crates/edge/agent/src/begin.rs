//! How an agent begins: it opens its state and learns who it is, as soon as that can be done.

use std::time::Instant;

use crate::health::{Doing, Health};
use crate::hub::{self, chain};
use crate::shell::DISK_PAUSE;
use crate::state::{Identity, State, StateDir, StateError};
use crate::{AgentConfig, AgentError};

/// Who the agent is; it joins if it has not.
async fn known(config: &AgentConfig, state: &mut State) -> Result<Identity, AgentError> {
    match state.identity().await? {
        Some(identity) => Ok(identity),
        None => hub::join(config, state).await,
    }
}

/// Who the agent is, in a cluster that may not answer yet, or on a disk that is full: ending would only begin it again.
pub(crate) async fn patiently(
    config: &AgentConfig,
    state: &mut State,
    health: &Health,
) -> Result<Identity, AgentError> {
    let since = Instant::now();
    loop {
        match known(config, state).await {
            Err(AgentError::State(error)) if passes(&error, state) => {
                refused(&error, since, health).await;
            }
            other => {
                health.doing(Doing::Starting);
                return other;
            }
        }
    }
}

/// Opens the folder of the agent's state, as soon as that can be done.
pub(crate) async fn opened(config: &AgentConfig, health: &Health) -> Result<StateDir, AgentError> {
    let since = Instant::now();
    loop {
        match StateDir::open(&config.state_dir) {
            Err(error) if error.may_pass() => refused(&error, since, health).await,
            other => return Ok(other?),
        }
    }
}

fn passes(error: &StateError, state: &State) -> bool {
    match state {
        State::Folder(_) => error.may_pass(),
        State::Secrets(_) => !error.taken,
    }
}

/// Tells that the state cannot be used, and waits.
async fn refused(error: &StateError, since: Instant, health: &Health) {
    let error = chain(error);
    tracing::error!(%error, "cannot use the agent's state; trying again");
    health.cannot_keep(since, error);
    tokio::time::sleep(DISK_PAUSE).await;
}
