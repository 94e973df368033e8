//! Flags about gateways and meshes: for which of them objects are written, and where proxies find the verifier.

use clap::{Args, ValueEnum};
use countersign_api::wiring::{Verifier, Wiring};
use countersign_core::names::{Namespace, ObjectRef};

use super::options::Installation;
use crate::controller::wiring::Settings;
use crate::objects::Key;

/// What connects the traffic of HTTPRoutes and Gateways.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Gateways")]
pub(crate) struct WiringFlags {
    /// For whom objects are written that bring the traffic of policies' HTTPRoutes and Gateways to the verifier; may be given
    /// several times; by default for nobody
    #[arg(long, env = "COUNTERSIGN_WIRE", value_enum, value_delimiter = ',', value_name = "GATEWAY")]
    wire: Vec<Wire>,
    #[command(flatten)]
    verifier: VerifierService,
    /// ConfigMap with the configuration of the Istio mesh, read to see whether it has a policy's extension provider
    #[arg(
        long,
        env = "COUNTERSIGN_ISTIO_MESH_CONFIG",
        default_value = "istio-system/istio",
        value_name = "NAMESPACE/NAME"
    )]
    istio_mesh_config: ObjectRef,
}

/// Where proxies find the verifier.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifierService {
    /// Service of the verifier, with its ports 9001 and 9002; by default countersign-verifier in the system namespace
    #[arg(long, env = "COUNTERSIGN_VERIFIER_SERVICE", value_name = "NAMESPACE/NAME")]
    verifier_service: Option<ObjectRef>,
}

/// Who makes gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wire {
    EnvoyGateway,
    Istio,
}

impl WiringFlags {
    /// None where nothing is to be written.
    pub(crate) fn settings(&self, installation: &Installation) -> Option<Settings> {
        if self.wire.is_empty() {
            return None;
        }
        let wiring = Wiring {
            verifier: self.verifier.value(&installation.system_namespace, &installation.cluster_domain),
            envoy_gateway: self.wire.contains(&Wire::EnvoyGateway),
            istio: self.wire.contains(&Wire::Istio),
        };
        Some(Settings { wiring, mesh: Key::from(&self.istio_mesh_config) })
    }
}

impl VerifierService {
    /// The Service, as proxies are told it.
    pub(crate) fn value(&self, system: &Namespace, cluster_domain: &str) -> Verifier {
        let (namespace, service) = match &self.verifier_service {
            Some(service) => (service.namespace.to_string(), service.name.to_string()),
            None => (system.to_string(), "countersign-verifier".to_owned()),
        };
        Verifier { namespace, service, cluster_domain: cluster_domain.to_owned() }
    }
}
