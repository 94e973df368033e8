//! A ScopePolicy, from its typed source to a verdict about one request.
//!
//! ```text
//! ScopePolicy ──TryFrom──► Source ──compile, once per object──► Compiled ─┐
//!                                                  what may be claimed ───┴─► PolicySet ──decide(request)──► Verdict
//! ```
//!
//! Flows in: [`Source`], element by element, each readable or a [`Problem`]. Flows out: problems for the status of the
//! object and, per request, an answer.

mod advice;
mod answer;
mod compile;
mod condition;
mod explain;
mod facts;
mod host_pattern;
mod labels;
mod methods;
mod pattern;
mod routes;
mod set;
mod source;
#[cfg(test)]
mod testing;
mod verdict;

pub use advice::Advice;
pub use answer::{Answer, BearerError, Reason, Refusal, RuleRef, ShadowRule, Status, Verdict};
pub use compile::{Compiled, compile};
pub use condition::{Condition, ConditionError, Outcome};
pub use explain::{Choice, Considered, Explanation, Needs, Standing, Wanted, explain};
pub use facts::Facts;
pub use host_pattern::HostPattern;
pub use labels::{LabelOperator, LabelRequirement, LabelSelector};
pub use methods::Methods;
pub use pattern::{Pattern, PatternError};
pub use set::{Accepted, PolicySet};
pub use source::{
    Allow, Cors, Effect, Grant, Grantee, Match, Mode, NamespaceChoice, Problem, Protection, Route, RuleSource,
    ScopeDef, Selector, Source, Target, TokenSource, Unmatched, Unreadable,
};
pub use verdict::decide;
