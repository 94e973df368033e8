//! Label selectors, as Kubernetes means them.
//!
//! Flows in: `matchLabels` and `matchExpressions`. Flows out: whether a namespace's labels satisfy all of them.

use std::collections::{BTreeMap, BTreeSet};

/// A selector; an empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// Labels that must be there with this value.
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// What must hold for it.
    pub operator: LabelOperator,
}

/// What must hold for a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    /// It is there with one of these values.
    In(BTreeSet<String>),
    /// It is absent or has none of these values.
    NotIn(BTreeSet<String>),
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether the labels satisfy every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }
}

impl LabelRequirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            LabelOperator::In(values) => value.is_some_and(|value| values.contains(value)),
            LabelOperator::NotIn(values) => !value.is_some_and(|value| values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_requirements_must_hold() {
        let web = || BTreeSet::from(["web".to_owned()]);
        let matches = |operator, pairs: &[(&str, &str)]| {
            let match_expressions = vec![LabelRequirement { key: "team".to_owned(), operator }];
            LabelSelector { match_labels: labels(&[("env", "prod")]), match_expressions }.matches(&labels(pairs))
        };
        let (both, other, absent) =
            (&[("env", "prod"), ("team", "web")], &[("env", "prod"), ("team", "x")], &[("env", "prod")]);
        assert!(matches(LabelOperator::In(web()), both) && !matches(LabelOperator::In(web()), other));
        assert!(!matches(LabelOperator::In(web()), absent) && !matches(LabelOperator::In(web()), &both[1..]));
        assert!(!matches(LabelOperator::NotIn(web()), both) && matches(LabelOperator::NotIn(web()), absent));
        assert!(matches(LabelOperator::Exists, other) && !matches(LabelOperator::Exists, absent));
        assert!(!matches(LabelOperator::DoesNotExist, other) && matches(LabelOperator::DoesNotExist, absent));
    }

    #[test]
    fn an_empty_selector_matches_everything() {
        assert!(LabelSelector::default().matches(&BTreeMap::new()));
    }
}
