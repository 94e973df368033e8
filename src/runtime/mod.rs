//! Process things every role shares: tasks, shutdown, readiness, TLS, the accept loop, the admin port, clock, telemetry, traces.
//!
//! Flows in: flags and signals. Flows out: handles the roles hold (`Live`, `Clock`, `Shutdown`, `Condition`). Knows
//! nothing of the domain, of Kubernetes or of any role.

pub mod admin;
pub mod clock;
pub mod contact;
pub mod framing;
pub mod live;
pub mod metrics;
pub mod random;
pub mod readiness;
pub mod serve;
pub mod supervisor;
pub mod telemetry;
pub mod tls;
pub mod traces;
