//! The connection to the hub: joining, sessions, certificates.

use std::time::Duration;

use base_json::Digest;
use roadstead_dispatch::Known;
use roadstead_model::Time;
use roadstead_wire::keys::{KeyError, KeySet};
use roadstead_wire::pki::{TlsKey, certificate_validity};
use roadstead_wire::token::JoinToken;
use roadstead_wire::{
    AgentClient, ClientIdentity, Endpoint, Hello, HubSays, HubTrust, JoinRequest, ToHub, WireError,
};
use tokio::sync::{mpsc, watch};

use crate::shell::{Event, wall};
use crate::state::{Identity, State};
use crate::{AgentConfig, AgentError};

/// Pauses between tries, in milliseconds: at first, and at most.
const PAUSE_MIN: u64 = 500;
const PAUSE_MAX: u64 = 60_000;
/// Between two tries to keep the identity.
const KEEP_PAUSE: Duration = Duration::from_secs(2);
/// The pause after a refusal that only a person can mend.
const PAUSE_REFUSED: u64 = 60_000;

/// What the agent holds, for the hello.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holding {
    pub(crate) root: Option<Digest>,
    pub(crate) known: Known,
}

/// What a session tells the shell.
pub(crate) enum FromSession {
    /// The hub can be reached; its epoch.
    Up(AgentClient, ToHub, u64),
    /// It said something.
    Says(HubSays),
    /// It is away.
    Down,
    /// It will not have this agent, and why.
    Refused(String),
    /// The certificate was renewed, or keys came.
    Renewed(Box<Identity>),
}

fn endpoint(config: &AgentConfig, trust: HubTrust, identity: Option<ClientIdentity>) -> Endpoint {
    let mut endpoint = Endpoint::new(&config.hub.url, trust, identity);
    endpoint.proxy = config.hub.proxy.clone();
    endpoint.extra_ca_pems.clone_from(&config.hub.extra_ca_pems);
    endpoint
}

/// Waits a while that grows, and is never quite the same for two agents.
struct Pause(u64);

impl Pause {
    async fn wait(&mut self, at_least: u64) {
        let most = self.0.max(at_least);
        self.0 = self.0.saturating_mul(2).min(PAUSE_MAX);
        let random = getrandom::u64().unwrap_or(0);
        let spread = most / 2 + random % (most / 2 + 1);
        tokio::time::sleep(Duration::from_millis(spread)).await;
    }
}

/// Becomes a cluster of the hub, by the join token.
pub(crate) async fn join(config: &AgentConfig, state: &mut State) -> Result<Identity, AgentError> {
    let token = config.hub.token.as_deref().ok_or(AgentError::NoToken)?;
    let pin = token.trim().parse::<JoinToken>()?.ca_hash();
    let key = match state.key_pem().await? {
        // the certificate may have been made already, and its answer lost
        Some(pem) => TlsKey::from_pem(&pem)?,
        None => TlsKey::generate()?,
    };
    state.keep_key(&key.to_pem()).await?;
    let request = JoinRequest {
        token: token.trim().to_owned(),
        name: config.name.clone(),
        request_pem: key.request_pem()?,
        agent_version: config.version.clone(),
        facts: None,
    };
    let mut pause = Pause(PAUSE_MIN);
    let reply = loop {
        let endpoint = endpoint(config, HubTrust::Pin(pin), None);
        let reply = match AgentClient::connect(&endpoint).await {
            Ok(mut client) => client.join(&request).await,
            Err(error) => Err(error),
        };
        match reply {
            Ok(reply) => break reply,
            Err(error) if error.is_retryable() => {
                tracing::warn!(hub = %config.hub.url, error = %chain(&error), "cannot join yet");
                pause.wait(0).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let identity = Identity {
        cluster: reply.cluster,
        certificate_pem: reply.certificate_pem,
        key_pem: key.to_pem(),
        ca_pem: reply.ca_pem,
        keys: KeySet::from_json(&reply.keys_json)?,
    };
    // the token may be used up: what was got for it is not let go of
    while let Err(error) = state.keep_identity(&identity).await {
        if error.taken {
            return Err(error.into());
        }
        tracing::error!(error = %chain(&error), "joined, and cannot keep the identity; trying again");
        tokio::time::sleep(KEEP_PAUSE).await;
    }
    tracing::info!(cluster = %identity.cluster, name = %config.name, "joined");
    Ok(identity)
}

/// Keeps a session with the hub, for ever.
pub(crate) async fn sessions(
    config: AgentConfig,
    mut identity: Identity,
    holding: watch::Receiver<Holding>,
    mut renew: mpsc::Receiver<()>,
    to: mpsc::Sender<Event>,
) {
    let mut pause = Pause(PAUSE_MIN);
    let instance = format!("{:016x}", getrandom::u64().unwrap_or(0));
    loop {
        let begun = tokio::time::Instant::now();
        let end = session(&config, &instance, &mut identity, &holding, &mut renew, &to).await;
        if to.send(Event::Hub(FromSession::Down)).await.is_err() {
            return;
        }
        if begun.elapsed() > Duration::from_secs(30) {
            pause = Pause(PAUSE_MIN);
        }
        match end {
            Ok(()) => pause.wait(0).await,
            Err(error) if error.is_retryable() => {
                tracing::info!(hub = %config.hub.url, error = %chain(&error), "session ended");
                pause.wait(0).await;
            }
            Err(error) => {
                tracing::error!(hub = %config.hub.url, error = %chain(&error), "the hub refuses this agent; what it ordered is kept as it is");
                let why = chain(&error);
                if is_over(&error) && rejoined(&config, &mut identity, &to).await {
                    pause = Pause(PAUSE_MIN);
                    continue;
                }
                if to
                    .send(Event::Hub(FromSession::Refused(why)))
                    .await
                    .is_err()
                {
                    return;
                }
                pause.wait(PAUSE_REFUSED).await;
            }
        }
    }
}

/// Is this certificate good for nothing any more?
const fn is_over(error: &WireError) -> bool {
    matches!(
        error,
        WireError::CertificateEnded | WireError::CertificateRevoked
    )
}

/// Joins again by the token that somebody gave this agent, if the token is for the same cluster: its certificate ended
/// for too long, or was revoked. What it holds and obeys stays.
async fn rejoined(config: &AgentConfig, identity: &mut Identity, to: &mpsc::Sender<Event>) -> bool {
    let Some(token) = config.hub.token.as_deref().map(str::trim) else {
        return false;
    };
    let asked = async {
        let pin = token.parse::<JoinToken>()?.ca_hash();
        let key = TlsKey::generate()?;
        let request = JoinRequest {
            token: token.to_owned(),
            name: config.name.clone(),
            request_pem: key.request_pem()?,
            agent_version: config.version.clone(),
            facts: None,
        };
        let endpoint = endpoint(config, HubTrust::Pin(pin), None);
        let reply = AgentClient::connect(&endpoint)
            .await?
            .join(&request)
            .await?;
        let keys = KeySet::from_json(&reply.keys_json)?;
        let identity = Identity {
            cluster: reply.cluster,
            certificate_pem: reply.certificate_pem,
            key_pem: key.to_pem(),
            ca_pem: reply.ca_pem,
            keys,
        };
        Ok::<_, AgentError>(identity)
    };
    match asked.await {
        Ok(made) if made.cluster == identity.cluster => {
            tracing::info!(cluster = %made.cluster, "joined again");
            *identity = made;
            let renewed = Event::Hub(FromSession::Renewed(Box::new(identity.clone())));
            to.send(renewed).await.is_ok()
        }
        Ok(made) => {
            tracing::error!(
                own = %identity.cluster, token = %made.cluster,
                "the join token is for another cluster than this agent looks after; make one for this cluster, or remove the agent's state"
            );
            false
        }
        Err(error) => {
            tracing::error!(error = %chain(&error), "cannot join again by the token that this agent has");
            false
        }
    }
}

async fn session(
    config: &AgentConfig,
    instance: &str,
    identity: &mut Identity,
    holding: &watch::Receiver<Holding>,
    renew: &mut mpsc::Receiver<()>,
    to: &mpsc::Sender<Event>,
) -> Result<(), WireError> {
    let own = ClientIdentity {
        certificate_pem: identity.certificate_pem.clone(),
        key_pem: identity.key_pem.clone(),
    };
    let endpoint = endpoint(config, HubTrust::Ca(identity.ca_pem.clone()), Some(own));
    let mut client = AgentClient::connect(&endpoint).await?;
    let validity = certificate_validity(&identity.certificate_pem)?;
    if wall() >= validity.until {
        // it has ended: renewing is all that it is still good for
        renewed(&mut client, identity, to).await?;
        return Ok(());
    }
    let held = *holding.borrow();
    let hello = Hello::new(
        identity.cluster.clone(),
        &config.version,
        held.root,
        held.known,
    )
    .of_instance(instance);
    let mut session = client.session(hello).await?;
    let up = FromSession::Up(
        client.clone(),
        session.outbound.clone(),
        session.welcome.epoch,
    );
    if to.send(Event::Hub(up)).await.is_err() {
        return Ok(());
    }
    loop {
        let due = renewal_due(&identity.certificate_pem);
        tokio::select! {
            says = session.inbound.next() => match says? {
                Some(HubSays::Ended { reason }) => return Err(WireError::Ended { reason }),
                Some(says) => {
                    if to.send(Event::Hub(FromSession::Says(says))).await.is_err() {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            },
            () = tokio::time::sleep(due) => renewed(&mut client, identity, to).await?,
            asked = renew.recv() => {
                if asked.is_none() {
                    return Ok(());
                }
                renewed(&mut client, identity, to).await?;
            }
        }
    }
}

/// How long until the certificate should be renewed: after two thirds of its time.
fn renewal_due(certificate_pem: &str) -> Duration {
    let Ok(validity) = certificate_validity(certificate_pem) else {
        return Duration::from_secs(3600);
    };
    let whole = validity.until.since_ms(validity.from);
    let at: Time = validity.from.plus_ms(whole / 3 * 2);
    // tokio's timers reach two years; and a clock that was set is noticed
    Duration::from_millis(at.since_ms(wall()).clamp(1_000, 3_600_000))
        .max(Duration::from_secs(u64::from(at <= wall()) * 60))
}

async fn renewed(
    client: &mut AgentClient,
    identity: &mut Identity,
    to: &mpsc::Sender<Event>,
) -> Result<(), WireError> {
    let due = certificate_validity(&identity.certificate_pem).is_ok();
    let request = TlsKey::from_pem(&identity.key_pem)?.request_pem()?;
    let reply = client.renew(&request).await?;
    if due {
        certificate_validity(&reply.certificate_pem)?;
    }
    identity.certificate_pem = reply.certificate_pem;
    identity.ca_pem = reply.ca_pem;
    match KeySet::from_json(&reply.keys_json) {
        // only keys that one we trust vouches for
        Ok(keys) => drop(identity.keys.absorb(&keys)),
        Err(error) => warn_keys(&error),
    }
    tracing::info!("certificate renewed");
    let renewed = Event::Hub(FromSession::Renewed(Box::new(identity.clone())));
    // the shell is gone only when everything ends
    drop(to.send(renewed).await);
    Ok(())
}

fn warn_keys(error: &KeyError) {
    tracing::warn!(%error, "the hub's keys cannot be read; those that are held stay");
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
