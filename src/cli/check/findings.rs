//! What is wrong with manifests, and what is doubtful.
//!
//! Flows in: the survey of the files and the snapshot made of them. Flows out: findings in the order of the files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_api::reasons::{Place as Standing, Reason};
use countersign_api::signingkey::Ring;
use countersign_api::{DEFAULT_ISSUER, SigningKey};
use countersign_core::directory::{ClientView, Directory, PolicyView, reason};
use countersign_core::keyring::{DEFAULT_RING, RefusedTimings};
use countersign_core::names::{Audience, ScopeName};
use countersign_core::policy::{Mode, Problem};

use crate::cli::manifests::{Premises, World};
pub(super) use crate::cli::told::Severity;
use crate::cli::told::Told;
use crate::objects::Key;
use crate::objects::folder::manifests::{Fields, Manifest, Place};

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) place: Place,
    /// Kind and name, where the object could be read so far.
    pub(super) object: Option<(String, Key)>,
    /// Empty where it is the whole.
    pub(super) field: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) next: &'static str,
}

/// Everything there is to say.
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) files: usize,
    /// How many objects of each kind were checked.
    pub(super) objects: BTreeMap<String, usize>,
    pub(super) rules: usize,
    /// Objects of other kinds.
    pub(super) others: usize,
    /// Objects of other installations.
    pub(super) foreign: usize,
}

impl Finding {
    pub(super) fn told(&self) -> Told<'_> {
        let Self { severity, place, object, field, reason, message, next } = self;
        let object = object.as_ref().map(|(kind, key)| (kind.as_str(), key));
        Told { severity: *severity, place, object, field, reason, message, next }
    }
}

impl Report {
    pub(super) fn of(world: &World, premises: &Premises) -> Self {
        let directory = &*world.offline.snapshot.directory;
        let mut gather = Gather { world, directory, premises, findings: Vec::new() };
        gather.unreadable();
        let (mut objects, mut foreign) = (BTreeMap::new(), 0);
        for manifest in world.survey.manifests.iter().filter(|manifest| manifest.is_written()) {
            if is_ours(manifest, premises) {
                *objects.entry(manifest.kind().to_owned()).or_default() += 1;
                gather.manifest(manifest);
            } else {
                foreign += 1;
            }
        }
        let rules = directory.policies().map(|policy| policy.object.compiled.rule_count()).sum();
        let others = world.survey.others;
        Self { findings: gather.ordered(), files: world.survey.files, objects, rules, others, foreign }
    }

    pub(super) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Whether this installation reads the object at all.
fn is_ours(manifest: &Manifest, premises: &Premises) -> bool {
    let issuer = manifest.object.pointer("/spec/issuer").and_then(serde_json::Value::as_str);
    ["Namespace", "Secret"].contains(&manifest.kind())
        || issuer.unwrap_or(DEFAULT_ISSUER) == premises.issuer_name.as_str()
}

struct Gather<'a> {
    world: &'a World,
    directory: &'a Directory,
    premises: &'a Premises,
    findings: Vec<Finding>,
}

/// What is said of one manifest.
struct About<'a> {
    manifest: &'a Manifest,
    /// Read when it is first needed: most manifests have nothing wrong.
    fields: Option<Fields>,
    findings: Vec<Finding>,
}

// === impl Gather ===

impl Gather<'_> {
    fn unreadable(&mut self) {
        let problems = self.world.survey.problems.iter().map(|problem| Finding {
            severity: Severity::Problem,
            place: problem.place.clone(),
            object: None,
            field: problem.field.clone(),
            reason: reason::INVALID,
            message: problem.message.clone(),
            next: "correct it as the message says; the rest of the file is checked all the same",
        });
        self.findings.extend(problems);
    }

    fn manifest(&mut self, manifest: &Manifest) {
        let mut about = About { manifest, fields: None, findings: Vec::new() };
        let kind = manifest.kind();
        if let Some((_, malformed)) =
            self.world.offline.refused.iter().find(|((of, key), _)| *of == kind && *key == manifest.key)
        {
            about.problem(&Problem::new("", reason::INVALID, malformed.error.clone()), Standing::Element);
        }
        match kind {
            "OAuthClient" => self.client(&mut about),
            "ScopePolicy" => self.policy(&mut about),
            "NamespaceAllowance" => {
                let name = manifest.key.name.parse().ok();
                let allowance = name.and_then(|name| self.directory.allowance(&name));
                allowance
                    .iter()
                    .flat_map(|found| &found.problems)
                    .for_each(|found| about.problem(found, Standing::Element));
            }
            "SigningKey" => self.signing_key(&mut about),
            _ => {}
        }
        self.findings.append(&mut about.findings);
    }

    fn policy(&self, about: &mut About<'_>) {
        let object = about.manifest.key.object_ref().ok();
        let Some(view) = object.and_then(|object| self.directory.policy(&object)) else { return };
        view.problems.iter().for_each(|problem| about.problem(problem, Standing::Element));
        self.directory.notes(view).iter().for_each(|note| about.note(note));
        for (element, message) in shadows(view) {
            about.note(&Problem::new(element, "NotEnforcing", message));
        }
    }

    fn client(&self, about: &mut About<'_>) {
        let object = about.manifest.key.object_ref().ok();
        let Some(view) = object.and_then(|object| self.directory.client_of(&object)) else { return };
        view.problems.iter().chain(&view.secret_conflict).for_each(|problem| about.problem(problem, Standing::Element));
        self.scopes(view, about);
        self.directory.notes_of_client(view).iter().for_each(|note| about.note(note));
        let Some(spec) = view.accepted() else { return };
        let ring = &spec.tokens.signing_key;
        let known = |manifest: &&Manifest| manifest.kind() == "SigningKey" && *manifest.key.name == *ring.as_str();
        if ring.as_str() != DEFAULT_RING && !self.world.survey.manifests.iter().any(|manifest| known(&manifest)) {
            let message = format!("there is no SigningKey {ring} in the manifests");
            about.note(&Problem::new("spec.tokens.signingKey", "UnknownSigningKey", message));
        }
    }

    /// Scopes a client asks for and is not granted. In files of one owner nothing is hidden, so that a scope that does not
    /// exist is told apart from one that is not granted also across namespaces.
    fn scopes(&self, view: &ClientView, about: &mut About<'_>) {
        let access = view.accepted().into_iter().flat_map(|spec| spec.access.iter().enumerate());
        // The policy may lie elsewhere, unless the client's namespace would serve the audience and has policies here.
        let own = |policy: &Arc<PolicyView>| policy.object.object.namespace == view.object.object.namespace;
        let refused = self.directory.grants(view).refused;
        let ours = |audience: &Audience| {
            refused.iter().any(|refused| refused.reason == reason::UNKNOWN_AUDIENCE && refused.audience == *audience)
                && self.directory.policies().any(own)
        };
        for (index, access) in access {
            let granted = self.directory.granted(view, access.audience.as_str());
            for scope in access.scopes.iter().filter(|scope| !granted.contains(scope.as_str())) {
                let element = |field: &str| format!("spec.access[{index}].{field}");
                match self.directory.audience(access.audience.as_str()) {
                    None => {
                        let message =
                            format!("no policy in the manifests serves {}, so {scope} is not granted", access.audience);
                        let problem = Problem::new(element("audience"), reason::UNKNOWN_AUDIENCE, message);
                        if ours(&access.audience) {
                            about.problem(&problem, Standing::Scope);
                        } else {
                            about.note(&problem);
                        }
                    }
                    Some(audience) if audience.defines(scope) => {
                        let message = format!("no grant of {} gives {scope} to {}", access.audience, client_id(view));
                        about.problem(&Problem::new(element("scopes"), reason::NOT_GRANTED, message), Standing::Scope);
                    }
                    Some(audience) => {
                        let known: Vec<_> = audience.scopes().map(ScopeName::as_str).collect();
                        let message =
                            format!("{} defines no scope {scope}; there are {}", access.audience, known.join(", "));
                        about
                            .problem(&Problem::new(element("scopes"), reason::UNKNOWN_SCOPE, message), Standing::Scope);
                    }
                }
            }
        }
    }

    fn signing_key(&self, about: &mut About<'_>) {
        let namespace = about.manifest.key.namespace.as_deref();
        if namespace != Some(self.premises.system_namespace.as_str()) {
            let message = format!("a SigningKey counts in namespace {} only", self.premises.system_namespace);
            return about.problem(&Problem::new("metadata.namespace", reason::INVALID, message), Standing::Element);
        }
        let key = serde_json::from_value::<SigningKey>(about.manifest.object.clone()).ok();
        let Some(ring) = key.and_then(|key| Ring::try_from(&key).ok()) else { return };
        ring.problems.iter().for_each(|problem| about.problem(problem, Standing::Element));
        if let Some(refused) = RefusedTimings::check(&ring.spec, &self.directory.settings().timings) {
            let (kind, condition, status) = ("SigningKey", "Accepted", "False");
            let problem = Problem::new("spec.rotation", "TimingsRefused", refused.to_string());
            about.problem(&problem, Standing::Condition { kind, condition, status });
        }
    }

    /// In the order of the files, and nothing twice: the schema and the Directory may object to the same.
    fn ordered(mut self) -> Vec<Finding> {
        self.findings.sort_by(|a, b| (&a.place, a.severity, &a.field).cmp(&(&b.place, b.severity, &b.field)));
        let mut seen = BTreeSet::new();
        self.findings.retain(|finding| match finding.severity {
            Severity::Problem if finding.object.is_none() => {
                seen.insert((finding.place.clone(), finding.field.clone()));
                true
            }
            _ => true,
        });
        let told = |finding: &Finding| {
            finding.object.is_some() && seen.contains(&(finding.place.clone(), finding.field.clone()))
        };
        self.findings.retain(|finding| !told(finding));
        self.findings.dedup();
        self.findings
    }
}

// === impl About ===

impl About<'_> {
    fn problem(&mut self, problem: &Problem, standing: Standing) {
        self.say(Severity::Problem, problem, standing);
    }

    fn note(&mut self, note: &Problem) {
        self.say(Severity::Note, note, Standing::Note);
    }

    fn say(&mut self, severity: Severity, problem: &Problem, standing: Standing) {
        let fields = self.fields.get_or_insert_with(|| self.manifest.fields());
        let Problem { element, reason, message } = problem;
        self.findings.push(Finding {
            severity,
            place: fields.place(element),
            object: Some((self.manifest.kind().to_owned(), self.manifest.key.clone())),
            field: element.clone(),
            reason,
            message: message.clone(),
            next: Reason::find(reason, standing).map_or("", |found| found.next),
        });
    }
}

fn client_id(view: &ClientView) -> String {
    view.object.client_id.as_ref().map_or_else(|| view.object.object.to_string(), ToString::to_string)
}

/// What of a policy is not enforced.
fn shadows(view: &PolicyView) -> Vec<(String, String)> {
    let source = &view.object.source;
    if source.mode == Mode::Shadow {
        return vec![("spec.mode".to_owned(), "the policy decides and counts, and lets everything pass".to_owned())];
    }
    let rules = view.object.compiled.shadow_rules();
    let message = |name| format!("rule {name} is only counted: requests are judged as if it were not there");
    rules.map(|(index, name)| (format!("spec.rules[{index}].mode"), message(name))).collect()
}
