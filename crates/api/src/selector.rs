//! Which namespaces: a label selector with limits.

use std::collections::BTreeMap;

use countersign_core::policy::{LabelOperator, LabelRequirement, LabelSelector, Problem};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::choice::choice;
use crate::problems::{invalid, unknown_word};
use crate::schema::{self, Item, LabelKeyForm, LabelValueForm};

/// A label selector over namespaces: everything named must hold. The empty selector `{}` selects every namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels the namespace must carry, each with exactly this value. At most 16. Kubernetes itself labels each
    /// namespace with its name, so one namespace is `{kubernetes.io/metadata.name: shop}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::texts::<LabelValueForm, 16>")]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on the namespace's labels; all must hold. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<Requirement>")]
    pub match_expressions: Vec<Requirement>,
}

/// One condition on a namespace's labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0")
    .message("In and NotIn need values; Exists and DoesNotExist must not have any"))]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The label's key, such as `team`.
    #[schemars(schema_with = "schema::text::<LabelKeyForm>")]
    pub key: String,
    /// How the label is judged: `In` and `NotIn` compare with `values`, `Exists` and `DoesNotExist` ask only whether the
    /// namespace carries the label.
    pub operator: Operator,
    /// What `In` and `NotIn` compare with. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::set::<LabelValueForm, 64>")]
    pub values: Vec<String>,
}

impl Item for Requirement {
    const MAX: u32 = 16;
}

choice! {
    /// How a label is judged.
    Operator {
        /// The value is one of `values`.
        In = "In",
        /// The value is none of `values`, or there is none.
        NotIn = "NotIn",
        /// There is such a label.
        Exists = "Exists",
        /// There is no such label.
        DoesNotExist = "DoesNotExist",
    }
}

impl NamespaceSelector {
    /// The selector as the core has it.
    pub(crate) fn read(&self, element: &str) -> Result<LabelSelector, Problem> {
        let requirement = |(index, requirement): (usize, &Requirement)| {
            let values = || requirement.values.iter().cloned().collect();
            let operator = match (&requirement.operator, requirement.values.is_empty()) {
                (Operator::In, false) => LabelOperator::In(values()),
                (Operator::NotIn, false) => LabelOperator::NotIn(values()),
                (Operator::Exists, true) => LabelOperator::Exists,
                (Operator::DoesNotExist, true) => LabelOperator::DoesNotExist,
                (Operator::Unknown(word), _) => {
                    return Err(unknown_word(&format!("{element}.matchExpressions[{index}].operator"), word));
                }
                (operator, _) => {
                    let message =
                        format!("{operator}: In and NotIn need values, Exists and DoesNotExist must not have any");
                    return Err(invalid(&format!("{element}.matchExpressions[{index}].values"), message));
                }
            };
            Ok(LabelRequirement { key: requirement.key.clone(), operator })
        };
        let match_expressions = self.match_expressions.iter().enumerate().map(requirement).collect::<Result<_, _>>()?;
        Ok(LabelSelector { match_labels: self.match_labels.clone(), match_expressions })
    }
}
