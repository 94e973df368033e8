//! `countersign crd`: the custom resource definitions.
//!
//! Flows in: countersign-api's types. Flows out: YAML for `kubectl apply`; `crds/` in the repository holds the same, and so does the chart.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::out;

/// Print the custom resource definitions
///
/// Install or update them with `countersign crd | kubectl apply --server-side -f -`.
#[derive(Args, Debug)]
pub(super) struct Crd {
    /// Write a file a kind into this folder, which must be there; by default all are printed
    #[arg(long, env = "COUNTERSIGN_CRD_OUTPUT", value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Crd {
    pub(super) fn run(&self) -> Result<()> {
        let crds = crds()?;
        if let Some(folder) = &self.output {
            return crds.iter().try_for_each(|crd| {
                let file = file(folder, crd);
                std::fs::write(&file, yaml(crd)?).with_context(|| format!("cannot write {}", file.display()))
            });
        }
        out::print(&crds.iter().map(yaml).collect::<Result<String>>()?)
    }
}

fn crds() -> Result<Vec<CustomResourceDefinition>> {
    countersign_api::crds().context("cannot print the definitions")
}

fn file(folder: &Path, crd: &CustomResourceDefinition) -> PathBuf {
    folder.join(format!("{}.yaml", crd.spec.names.plural))
}

fn yaml(crd: &CustomResourceDefinition) -> Result<String> {
    let text = serde_saphyr::to_string(crd).with_context(|| format!("cannot print {}", crd.spec.names.kind))?;
    Ok(format!("---\n{}\n", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_and_the_chart_hold_what_the_types_say() {
        for folder in ["crds", "charts/countersign/files/crds"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for crd in crds().expect("the definitions print") {
                let file = file(&folder, &crd);
                let held = std::fs::read_to_string(&file).unwrap_or_default();
                assert!(held == yaml(&crd).expect("prints"), "{} is out of date: run `make crds`", file.display());
            }
        }
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for crd in crds().expect("the definitions print") {
            let text = yaml(&crd).expect("prints");
            let read: CustomResourceDefinition = serde_saphyr::from_str(&text).expect("reads");
            assert_eq!(read, crd);
        }
    }
}
