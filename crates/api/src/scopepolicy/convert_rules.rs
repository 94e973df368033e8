//! Rules as the core has them: what cannot be understood denies what it matches.

use countersign_core::policy::{self as core, Methods, Pattern, Problem};

use super::convert::mode;
use super::{Allow, Match, Mode, PathMatch, PathType, PolicyRule, Protection};
use crate::oauthclient::scopes;
use crate::problems::{invalid, unknown_field, unknown_word};

pub(super) fn rule(index: usize, rule: &PolicyRule) -> core::RuleSource {
    let element = format!("spec.rules[{index}]");
    let problem = strangeness(&element, rule);
    core::RuleSource {
        name: rule.name.clone(),
        matches: rule
            .matches
            .iter()
            .enumerate()
            .map(|(at, m)| one_match(&format!("{element}.matches[{at}]"), m))
            .collect(),
        // A Shadow rule takes no part; one that cannot be understood must, to deny.
        mode: if problem.is_some() { core::Mode::Enforce } else { rule.mode.as_ref().map(mode).unwrap_or_default() },
        effect: problem.map_or_else(|| effect(&element, rule), Err),
    }
}

/// The first thing in a rule that this version does not know, or that would narrow what it denies.
fn strangeness(element: &str, rule: &PolicyRule) -> Option<Problem> {
    let mode = match &rule.mode {
        Some(Mode::Unknown(word)) => Some(unknown_word(&format!("{element}.mode"), word)),
        _ => None,
    };
    let mut matches = rule.matches.iter().enumerate();
    let mut allow = rule.allow.iter().enumerate();
    unknown_field(element, &rule.unknown)
        .or(mode)
        .or_else(|| matches.find_map(|(at, m)| strange_match(&format!("{element}.matches[{at}]"), m)))
        .or_else(|| allow.find_map(|(at, a)| unknown_field(&format!("{element}.allow[{at}]"), &a.unknown)))
}

fn strange_match(element: &str, found: &Match) -> Option<Problem> {
    let kind = match &found.path.kind {
        PathType::Unknown(word) => Some(unknown_word(&format!("{element}.path.type"), word)),
        PathType::Exact | PathType::Template | PathType::Prefix => None,
    };
    let method = || {
        let name = methods(found).err()?;
        Some(invalid(&format!("{element}.methods"), format!("{name:?} is no HTTP method: write GET, HEAD, POST, …")))
    };
    unknown_field(element, &found.unknown)
        .or_else(|| unknown_field(&format!("{element}.path"), &found.path.unknown))
        .or(kind)
        .or_else(method)
}

fn methods(found: &Match) -> Result<Methods, &str> {
    Methods::from_names(found.methods.iter().map(String::as_str))
}

fn one_match(element: &str, found: &Match) -> Result<core::Match, Problem> {
    Ok(core::Match {
        methods: methods(found).unwrap_or(Methods::ANY),
        pattern: pattern(&format!("{element}.path"), &found.path)?,
    })
}

fn pattern(element: &str, path: &PathMatch) -> Result<Pattern, Problem> {
    let read = match &path.kind {
        PathType::Exact => Pattern::exact(&path.value),
        PathType::Template => Pattern::template(&path.value),
        PathType::Prefix => Pattern::prefix(&path.value),
        PathType::Unknown(_) => return Ok(widest(&path.value)),
    };
    read.map_err(|error| invalid(&format!("{element}.value"), error))
}

/// What a path of a type this version does not know might match: all below its leading plain segments.
fn widest(path: &str) -> Pattern {
    let plain = |segment: &&str| segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let mut segments = path.split('/').skip(1).take_while(plain).collect::<Vec<_>>();
    // The last one may be the beginning of something longer.
    segments.pop();
    let prefix = segments.iter().fold(String::new(), |prefix, segment| prefix + "/" + segment);
    Pattern::prefix(&prefix).unwrap_or_else(|_| Pattern::everything())
}

fn effect(element: &str, rule: &PolicyRule) -> Result<core::Effect, Problem> {
    let protection = match (&rule.protection, rule.allow.is_empty()) {
        (Protection::Public, true) => core::Protection::Public,
        (Protection::Authenticated, true) => core::Protection::Authenticated,
        (Protection::Scoped, false) => {
            let allow =
                rule.allow.iter().enumerate().map(|(at, entry)| allow(&format!("{element}.allow[{at}]"), entry));
            core::Protection::Scoped(allow.collect::<Result<_, _>>()?)
        }
        (Protection::Unknown(word), _) => return Err(unknown_word(&format!("{element}.protection"), word)),
        (Protection::Scoped, true) => {
            return Err(invalid(
                &format!("{element}.allow"),
                "protection: Scoped needs it: name the scopes that suffice",
            ));
        }
        (protection, false) => {
            let message = format!("protection: {protection} must not have it: remove it, or write protection: Scoped");
            return Err(invalid(&format!("{element}.allow"), message));
        }
    };
    Ok(core::Effect { protection })
}

fn allow(element: &str, allow: &Allow) -> Result<core::Allow, Problem> {
    Ok(core::Allow { scopes: scopes(&format!("{element}.scopes"), &allow.scopes)?, when: allow.when.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_an_unknown_type_denies_all_it_could_mean() {
        for (value, widest_text) in [
            ("/orders/[0-9]+", "/*"),
            ("/api/orders/[0-9]+", "/api/*"),
            ("/api/orders/x.*", "/api/*"),
            ("/a/b", "/a/*"),
            ("^/orders", "/*"),
            ("", "/*"),
        ] {
            assert_eq!(widest(value).to_string(), widest_text, "{value}");
        }
    }
}
