//! `when`: a CEL expression over token, request, path and client. The only file that names the `cel` crate.
//!
//! Flows in: source text, once, checked on its syntax tree so that no expression can cost much; then facts about one
//! request. Flows out: whether the condition holds. Whatever goes wrong, it does not.
//!
//! The crate bounds no cost, so the bound is by construction: few nodes, one level of comprehension over a plain list or
//! map, functions of linear cost only, and no value over [`MAX_ENTRIES`] entries or [`MAX_STRING`] bytes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, Weak};

use cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};
use cel::{Context, Env, IdedExpr, Program, Value};

use super::facts::{Facts, Roots};

/// The longest source.
pub(super) const MAX_SOURCE: usize = 1024;
/// The most nodes of a syntax tree, macros expanded.
pub(super) const MAX_NODES: usize = 64;
/// The most entries of a list or map an expression is given.
pub(super) const MAX_ENTRIES: usize = 64;
/// The longest string an expression is given.
pub(super) const MAX_STRING: usize = 4 * 1024;

/// Brackets and `?` a source may open before it is parsed: they are what makes a parser recurse. A thread has 2 MiB of stack,
/// which 32 fill in a build without optimisation; 48 take 415 KiB in a release build.
const MAX_BRACKETS: usize = 24;

/// Functions whose cost is linear in their operands, and the operators.
const FUNCTIONS: [&str; 27] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NOT_STRICTLY_FALSE,
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::INDEX,
    operators::IN,
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "string",
    "int",
    "uint",
    "double",
];

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Longer than [`MAX_SOURCE`].
    #[error("a condition may have at most 1024 bytes")]
    TooLong,
    /// More than [`MAX_NODES`] nodes, or too many brackets.
    #[error("a condition may have at most 64 parts and 24 brackets: split it over several allow entries or rules")]
    TooComplex,
    /// The parser refused it.
    #[error("not a CEL expression: {0}")]
    Syntax(String),
    /// A macro inside a macro.
    #[error("all, exists, map and filter may not be nested or chained")]
    NestedMacro,
    /// A macro over something computed.
    #[error("all, exists, map and filter work on a list or map of the token or request, or on one written out")]
    ComputedRange,
    /// A function that is not allowed.
    #[error(
        "function {0} is not available; there are size, contains, startsWith, endsWith, string, int, uint, double, has and in"
    )]
    Function(String),
    /// A variable that does not exist.
    #[error("variable {0} does not exist; there are token, request, path and client")]
    Variable(String),
    /// Struct literals, optional syntax.
    #[error("only plain values, lists, maps and operators are available")]
    Unsupported,
}

/// How a condition came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// True.
    Holds,
    /// False.
    Fails,
    /// An error, a missing key, a result that is not a bool, or too large a value: as if false, and counted.
    Broken,
}

/// A condition ready to be judged.
pub struct Condition {
    source: Box<str>,
    program: Program,
    uses: Roots,
}

/// A program is a function of its source.
impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

/// Shared by all programs: the functions. A request's values live in an inner scope.
static ROOT: LazyLock<Context<'static, 'static>> = LazyLock::new(|| Context::with_env(Arc::clone(&ENVIRONMENT)));
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// Programs in use, by source: thousands of policies share few conditions. Touched when a policy is compiled, never by a request.
static SHARED: LazyLock<Mutex<HashMap<Box<str>, Weak<Condition>>>> = LazyLock::new(Mutex::default);

// === impl Condition ===

impl Condition {
    /// Reads and checks a source; equal sources share one program.
    pub fn compile(source: &str) -> Result<Arc<Self>, ConditionError> {
        if source.len() > MAX_SOURCE {
            return Err(ConditionError::TooLong);
        }
        if let Some(shared) = lock_shared().get(source).and_then(Weak::upgrade) {
            return Ok(shared);
        }
        let condition = Arc::new(Self::parse(source)?);
        let mut shared = lock_shared();
        if shared.len() == shared.capacity() {
            shared.retain(|_, condition| condition.strong_count() > 0);
        }
        shared.insert(source.into(), Arc::downgrade(&condition));
        Ok(condition)
    }

    fn parse(source: &str) -> Result<Self, ConditionError> {
        if source.bytes().filter(|byte| b"([{?".contains(byte)).count() > MAX_BRACKETS {
            return Err(ConditionError::TooComplex);
        }
        let program = ENVIRONMENT.compile(source).map_err(|errors| {
            let first = errors.errors.first().map_or_else(String::new, |error| error.msg.clone());
            ConditionError::Syntax(first.chars().take(200).collect())
        })?;
        let mut check = Check { nodes: 0, bound: Vec::new(), uses: Roots::default() };
        check.expression(program.expression())?;
        let uses = check.uses;
        Ok(Self { source: source.into(), program, uses })
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it names `request.headers`, which mostly are the caller's own words.
    pub fn reads_headers(&self) -> bool {
        self.uses.reads_headers()
    }

    /// Judges one request. Only what the expression names is made a value.
    pub fn judge(&self, facts: &Facts<'_>) -> Outcome {
        let mut scope = ROOT.new_inner_scope();
        let Some(values) = facts.values(&self.uses) else { return Outcome::Broken };
        for (name, value) in values {
            scope.add_variable_from_value(name, value);
        }
        match self.program.execute(&scope) {
            Ok(Value::Bool(true)) => Outcome::Holds,
            Ok(Value::Bool(false)) => Outcome::Fails,
            Ok(_) | Err(_) => Outcome::Broken,
        }
    }
}

fn lock_shared() -> std::sync::MutexGuard<'static, HashMap<Box<str>, Weak<Condition>>> {
    // The map is whole after every statement, so a panic elsewhere leaves nothing half done.
    SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One walk over a syntax tree.
struct Check {
    nodes: usize,
    /// Variables of the comprehension being walked; not empty means inside one.
    bound: Vec<String>,
    uses: Roots,
}

// === impl Check ===

impl Check {
    fn expression(&mut self, node: &IdedExpr) -> Result<(), ConditionError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(ConditionError::TooComplex);
        }
        if let Some((root, fields)) = access_path(node)
            && !self.bound.iter().any(|name| name == root)
        {
            // The selects and constants on the way are nodes too.
            self.nodes += fields.len();
            if self.nodes > MAX_NODES {
                return Err(ConditionError::TooComplex);
            }
            return self.uses.note(root, &fields).map_err(|()| ConditionError::Variable(root.to_owned()));
        }
        match &node.expr {
            Expr::Literal(_) | Expr::Ident(_) => Ok(()),
            Expr::Select(select) => self.expression(&select.operand),
            Expr::Call(call) => {
                if !FUNCTIONS.contains(&call.func_name.as_str()) {
                    return Err(ConditionError::Function(call.func_name.chars().take(64).collect()));
                }
                call.target.as_deref().map_or(Ok(()), |target| self.expression(target))?;
                call.args.iter().try_for_each(|argument| self.expression(argument))
            }
            Expr::List(list) if list.optional_indices.is_empty() => {
                list.elements.iter().try_for_each(|element| self.expression(element))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) if !entry.optional => {
                    self.expression(&entry.key)?;
                    self.expression(&entry.value)
                }
                _ => Err(ConditionError::Unsupported),
            }),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Unspecified | Expr::Struct(_) | Expr::List(_) => Err(ConditionError::Unsupported),
        }
    }

    fn comprehension(&mut self, node: &cel::common::ast::ComprehensionExpr) -> Result<(), ConditionError> {
        if !self.bound.is_empty() {
            return Err(ConditionError::NestedMacro);
        }
        range(&node.iter_range)?;
        self.expression(&node.iter_range)?;
        self.bound.extend([node.iter_var.clone(), node.accu_var.clone()]);
        self.bound.extend(node.iter_var2.clone());
        for part in [&node.accu_init, &node.loop_cond, &node.loop_step, &node.result] {
            self.expression(part)?;
        }
        self.bound.clear();
        Ok(())
    }
}

/// What a comprehension runs over must not be computed, else it could be longer than any value given.
fn range(node: &IdedExpr) -> Result<(), ConditionError> {
    match &node.expr {
        Expr::Comprehension(_) => Err(ConditionError::NestedMacro),
        Expr::Call(call) if call.func_name == operators::INDEX => call.args.iter().try_for_each(range),
        Expr::Select(select) => range(&select.operand),
        Expr::Ident(_) | Expr::List(_) | Expr::Map(_) | Expr::Literal(_) => Ok(()),
        _ => Err(ConditionError::ComputedRange),
    }
}

/// Reads `root.a["b"].c`, and `"c" in root.a`, as its root and the constant names that follow, as far as there are any.
fn access_path(node: &IdedExpr) -> Option<(&str, Vec<&str>)> {
    match &node.expr {
        Expr::Ident(name) => Some((name, Vec::new())),
        Expr::Select(select) => {
            let (root, mut fields) = access_path(&select.operand)?;
            fields.push(&select.field);
            Some((root, fields))
        }
        Expr::Call(call) if [operators::INDEX, operators::IN].contains(&call.func_name.as_str()) => {
            let [left, right] = call.args.as_slice() else { return None };
            let (operand, key) = if call.func_name == operators::IN { (right, left) } else { (left, right) };
            let Expr::Literal(LiteralValue::String(key)) = &key.expr else { return None };
            let (root, mut fields) = access_path(operand)?;
            fields.push(key.inner());
            Some((root, fields))
        }
        _ => None,
    }
}

/// A value for an expression, unless it is too large.
pub(super) fn text(text: &str) -> Option<Value> {
    (text.len() <= MAX_STRING).then(|| Value::String(Arc::new(text.to_owned())))
}

/// A map for an expression, unless it is too large.
pub(super) fn map(entries: HashMap<String, Value>) -> Option<Value> {
    (entries.len() <= MAX_ENTRIES).then(|| Value::Map(entries.into()))
}

/// A JSON value for an expression, unless it or a part of it is too large.
pub(super) fn json(value: &serde_json::Value) -> Option<Value> {
    Some(match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) => Value::UInt(value),
            (None, None) => Value::Float(number.as_f64()?),
        },
        serde_json::Value::String(value) => text(value)?,
        serde_json::Value::Array(values) => list(values.iter().map(json))?,
        serde_json::Value::Object(members) => {
            map(members.iter().map(|(name, value)| Some((name.clone(), json(value)?))).collect::<Option<_>>()?)?
        }
    })
}

/// A list for an expression, unless it is too large.
pub(super) fn list(values: impl ExactSizeIterator<Item = Option<Value>>) -> Option<Value> {
    (values.len() <= MAX_ENTRIES)
        .then(|| values.collect::<Option<Vec<_>>>())?
        .map(|values| Value::List(Arc::new(values)))
}

/// What conditions are given; see [`Facts`].
pub(super) type Given = Value;

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
