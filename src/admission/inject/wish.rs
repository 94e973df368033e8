//! What a pod asks for, and why it does not get it.
//!
//! Flows in: a pod's annotations. Flows out: a wish in which every value is well-formed; the tokens are read as the flags of
//! `countersign agent` are. Of what somebody wrote a message holds little, and nothing unprintable.

use std::collections::BTreeMap;
use std::fmt;

use countersign_core::directory;
use countersign_core::names::ObjectName;
use countersign_core::wanted::{Wanted, WantedError};

/// Asks for an agent of this OAuthClient of the pod's namespace.
pub(super) const INJECT: &str = "countersign.dev/inject-agent";
/// The installation that is asked, where not `default`.
const ISSUER: &str = "countersign.dev/issuer";
/// What annotations about the agent begin with.
const ABOUT: &str = "countersign.dev/agent-";
pub(super) const TOKENS: &str = "countersign.dev/agent-tokens";
pub(super) const OUTPUTS: &str = "countersign.dev/agent-outputs";
pub(super) const CONTAINERS: &str = "countersign.dev/agent-containers";
pub(super) const MOUNT_PATH: &str = "countersign.dev/agent-mount-path";
pub(super) const PORT: &str = "countersign.dev/agent-port";
/// Says that the agent there is the one that was injected.
pub(super) const INJECTED: &str = "countersign.dev/agent-injected";
const KNOWN: [&str; 6] = [TOKENS, OUTPUTS, CONTAINERS, MOUNT_PATH, PORT, INJECTED];

/// Where programs find their tokens.
pub(super) const DEFAULT_MOUNT_PATH: &str = "/var/run/secrets/countersign.dev";
/// The longest text of an annotation here, and the most tokens: what they fill fits the volume they lie in.
const LONGEST: usize = 8192;
const MOST_TOKENS: usize = 32;
const LONGEST_PATH: usize = 256;

/// Why a pod that asks is not created.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this webhook injects into Pods that are created: take everything else out of the webhook's rules")]
    NotAPod,
    #[error("the review holds no object")]
    NoObject,
    #[error("the Pod cannot be read: {}", shown(.0))]
    Unreadable(#[source] serde_json::Error),
    #[error("the Pod has no spec")]
    NoSpec,
    #[error(
        "annotation {INJECT}: this installation injects no agents: start `countersign admission` with --agent-image (chart: admission.inject.enabled), or take the annotation away"
    )]
    NoAgents,
    #[error("annotation {INJECT}: write the name of an OAuthClient of this namespace, such as storefront")]
    Client,
    #[error("annotation {TOKENS}: {0}")]
    Tokens(#[source] WantedError),
    #[error("annotation {TOKENS}: it is longer than {LONGEST} bytes or names more than {MOST_TOKENS} tokens")]
    ManyTokens,
    #[error("annotation {OUTPUTS}: write one or more of File, Socket, Envoy, with commas between")]
    Outputs,
    #[error("annotation {CONTAINERS}: write names of this pod's containers, each once, with commas between")]
    Containers,
    #[error(
        "annotation {MOUNT_PATH}: write an absolute path such as {DEFAULT_MOUNT_PATH}: letters, digits, `.`, `_`, `-`, no segment empty, `.` or `..`, {LONGEST_PATH} bytes at most"
    )]
    MountPath,
    #[error("annotation {PORT}: write a port from 1024 to 65535")]
    Port,
    #[error(
        "an annotation that begins with {ABOUT} is none of agent-tokens, agent-outputs, agent-containers, agent-mount-path, agent-port: mend its name"
    )]
    Unknown,
    #[error("the pod has a {what} called {name} that was not injected: give it another name")]
    Taken { what: &'static str, name: &'static str },
    #[error(
        "a mount of container {} lies at {path}, where the agent's tokens would: choose another place by annotation {MOUNT_PATH}",
        shown(.container)
    )]
    PathTaken { container: String, path: String },
    #[error(
        "a mount of container {} around {path} is read-only, so that nothing can be mounted in it: choose another place by annotation {MOUNT_PATH}",
        shown(.container)
    )]
    PathReadOnly { container: String, path: String },
    #[error("a container of the pod has port {0}, which the agent would use: choose another one by annotation {PORT}")]
    PortTaken(u16),
    #[error("the agent is a program for Linux: take the annotation {INJECT} off pods with another spec.os")]
    System,
}

/// A pod is not validated yet: its text may be anything, and of any length.
fn shown(text: &impl fmt::Display) -> String {
    text.to_string().chars().take(200).flat_map(char::escape_debug).collect()
}

/// How programs get tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outputs {
    pub(super) file: bool,
    pub(super) socket: bool,
    pub(super) envoy: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) client: ObjectName,
    pub(super) tokens: Vec<Wanted>,
    pub(super) outputs: Outputs,
    /// The containers that see the tokens; without them all but init containers.
    pub(super) containers: Option<Vec<String>>,
    pub(super) mount_path: String,
    pub(super) port: Option<u16>,
    /// Whether the pod says that it was injected into.
    pub(super) is_fulfilled: bool,
}

impl Wish {
    /// What these annotations ask this installation for.
    pub(super) fn read(
        annotations: &BTreeMap<String, String>,
        installation: &directory::Settings,
    ) -> Result<Option<Self>, Refusal> {
        let given = |name: &str| annotations.get(name).map(String::as_str);
        let Some(client) = given(INJECT).filter(|_| installation.is_ours(given(ISSUER))) else { return Ok(None) };
        if annotations.keys().any(|name| name.starts_with(ABOUT) && !KNOWN.contains(&name.as_str())) {
            return Err(Refusal::Unknown);
        }
        Ok(Some(Self {
            client: ObjectName::new(client).map_err(|_| Refusal::Client)?,
            tokens: tokens(given(TOKENS).unwrap_or("default"))?,
            outputs: outputs(given(OUTPUTS).unwrap_or("File"))?,
            containers: given(CONTAINERS).map(containers).transpose()?,
            mount_path: mount_path(given(MOUNT_PATH).unwrap_or(DEFAULT_MOUNT_PATH))?,
            port: given(PORT).map(port).transpose()?,
            is_fulfilled: given(INJECTED).is_some(),
        }))
    }
}

fn tokens(text: &str) -> Result<Vec<Wanted>, Refusal> {
    if text.len() > LONGEST || text.split(',').count() > MOST_TOKENS {
        return Err(Refusal::ManyTokens);
    }
    Wanted::list(text).map_err(Refusal::Tokens)
}

fn outputs(text: &str) -> Result<Outputs, Refusal> {
    let mut outputs = Outputs::default();
    for word in text.split(',') {
        let output = match word {
            "File" => &mut outputs.file,
            "Socket" => &mut outputs.socket,
            "Envoy" => &mut outputs.envoy,
            _ => return Err(Refusal::Outputs),
        };
        if std::mem::replace(output, true) {
            return Err(Refusal::Outputs);
        }
    }
    Ok(outputs)
}

/// Which of them there are is seen in the pod.
fn containers(text: &str) -> Result<Vec<String>, Refusal> {
    if text.len() > LONGEST {
        return Err(Refusal::Containers);
    }
    let mut names: Vec<_> = text.split(',').map(str::to_owned).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    if names.len() == all { Ok(names) } else { Err(Refusal::Containers) }
}

fn mount_path(text: &str) -> Result<String, Refusal> {
    let plain = |segment: &str| {
        let is_name = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        is_name && !segment.is_empty() && segment != "." && segment != ".."
    };
    let well_formed = text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    if well_formed && text.len() <= LONGEST_PATH { Ok(text.to_owned()) } else { Err(Refusal::MountPath) }
}

/// A process without rights listens on no port below.
fn port(text: &str) -> Result<u16, Refusal> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port >= 1024);
    port.ok_or(Refusal::Port)
}
