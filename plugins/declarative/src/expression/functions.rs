//! Functions that expressions have beyond those of the language.
//!
//! Every one is there as `f(x, y)` and as `x.f(y)`. All are pure: the time is an argument (see [`super::rewrite`]).

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        ast::operators,
        functions::Function,
        types::{
            BOOL_TYPE, BYTES_TYPE, CelBool, CelDouble, CelInt, CelList, CelNull, CelOptional, CelString, CelTimestamp,
            DYN_TYPE, INT_TYPE, LIST_TYPE, MAP_TYPE, STRING_TYPE, Type,
        },
        value::{CowVal, Val},
    },
    extensions,
};
use chrono::{DateTime, FixedOffset, Utc};

use super::{
    rewrite,
    values::{is_list, is_map, length, to_json},
};
use crate::numbers;

type Args<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// Functions that are called without a receiver.
pub(crate) const GLOBAL: &[&str] = &[
    "bool",
    "bytes",
    "conditionAge",
    "conditionStatus",
    "dig",
    "double",
    "duration",
    "dyn",
    "int",
    "lists.range",
    "matches",
    "now",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "optional.unwrap",
    "size",
    "stableFor",
    "statusFeedbackValue",
    "string",
    "strings.quote",
    "timestamp",
    "toJson",
    "triState",
    "type",
    "uint",
];

/// Functions that are called on a receiver.
pub(crate) const MEMBER: &[&str] = &[
    "charAt",
    "conditionAge",
    "conditionStatus",
    "contains",
    "dig",
    "distinct",
    "endsWith",
    "first",
    "flatten",
    "format",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "hasValue",
    "indexOf",
    "join",
    "last",
    "lastIndexOf",
    "lowerAscii",
    "matches",
    "or",
    "orValue",
    "replace",
    "reverse",
    "size",
    "slice",
    "sort",
    "split",
    "stableFor",
    "startsWith",
    "statusFeedbackValue",
    "substring",
    "toJson",
    "triState",
    "trim",
    "unwrapOpt",
    "upperAscii",
    "value",
];

/// What expands to other expressions; still there under its name only when it was called wrongly.
pub(crate) const MACROS: &[&str] = &[
    "all",
    "exists",
    "exists_one",
    "filter",
    "has",
    "map",
    "optFlatMap",
    "optMap",
    "sortBy",
];

/// The functions of the language and ours.
///
/// # Errors
/// When a name is declared twice, which no input can bring about.
pub(crate) fn environment() -> Result<Env, DeclarationError> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)?;
    env.add_extension(extensions::lists)?;
    add_ours(&mut env, &|_| true)?;
    Ok(env)
}

/// Those functions alone that are meant, all of which [`is_single`]. Operators are not functions: they need none.
///
/// # Errors
/// As [`environment`].
pub(crate) fn environment_of(is_meant: &dyn Fn(&str) -> bool) -> Result<Env, DeclarationError> {
    let mut env = Env::default();
    add_ours(&mut env, is_meant)?;
    for (name, function) in OF_TEXTS {
        if is_meant(name) {
            env.add_member_overload(name, name, STRING_TYPE, vec![STRING_TYPE], function)?;
        }
    }
    if is_meant(SIZE) {
        for sized in [STRING_TYPE, BYTES_TYPE, LIST_TYPE, MAP_TYPE] {
            let id = sized.name().to_owned();
            env.add_overload(SIZE, &format!("size_{id}"), vec![sized.to_owned()], size)?;
            env.add_member_overload(SIZE, &format!("{id}_size"), sized, Vec::new(), size)?;
        }
    }
    Ok(env)
}

/// Whether a function can be had without all others: it is one of ours, an operator, or one of those of the language
/// that are called most. All of the language takes longer to gather than most expressions to evaluate.
pub(crate) fn is_single(name: &str) -> bool {
    let is_operator =
        name.starts_with(['_', '!', '-']) || matches!(name, operators::IN | operators::NOT_STRICTLY_FALSE);
    is_operator
        || name == SIZE
        || OF_TEXTS.iter().any(|(known, _)| *known == name)
        || OURS.iter().any(|(ours, ..)| *ours == name)
        || HIDDEN.iter().any(|(ours, ..)| *ours == name)
        || OF_LISTS.iter().any(|(ours, _)| *ours == name)
}

/// Each as `f(x, y)` and as `x.f(y)`.
const OURS: [(&str, &[Type], Function); 8] = [
    ("toJson", &[DYN_TYPE], to_json_text),
    ("dig", &[DYN_TYPE, STRING_TYPE], dig),
    ("conditionStatus", &[DYN_TYPE, STRING_TYPE], condition_status),
    ("conditionAge", &[DYN_TYPE, STRING_TYPE, STRING_TYPE], condition_age),
    ("stableFor", &[DYN_TYPE, STRING_TYPE, INT_TYPE, STRING_TYPE], stable_for),
    ("statusFeedbackValue", &[DYN_TYPE, STRING_TYPE], status_feedback_value),
    ("triState", &[BOOL_TYPE, BOOL_TYPE], tri_state),
    ("matches", &[STRING_TYPE, STRING_TYPE], matches),
];
/// What the rewriting puts there.
const HIDDEN: [(&str, &[Type], Function); 5] = [
    (rewrite::HAS, &[DYN_TYPE, STRING_TYPE], has),
    (rewrite::SPELL, &[DYN_TYPE], spell),
    (rewrite::STRICT, &[DYN_TYPE], strict),
    (rewrite::UTC, &[DYN_TYPE], utc),
    ("optional.unwrap", &[LIST_TYPE], unwrap_optionals),
];
/// The language's `size`, of texts, bytes, lists and maps.
const SIZE: &str = "size";
/// The language's own of a text, which they are called on, and another text.
const OF_TEXTS: [(&str, Function); 3] = [
    ("contains", contains),
    ("endsWith", ends_with),
    ("startsWith", starts_with),
];
/// Of a list, which they are called on.
const OF_LISTS: [(&str, Function); 3] = [("first", first), ("last", last), ("unwrapOpt", unwrap_optionals)];

fn add_ours(env: &mut Env, is_meant: &dyn Fn(&str) -> bool) -> Result<(), DeclarationError> {
    // As the reference has it, so that expressions of existing adapters stay valid.
    env.set_error_on_duplicate_map_keys(false);
    let all = |types: &[Type]| types.iter().map(Type::to_owned).collect();
    for (name, types, function) in OURS {
        if let ([receiver, others @ ..], true) = (types, is_meant(name)) {
            env.add_overload(name, name, all(types), function)?;
            let id = format!("{name}_member");
            env.add_member_overload(name, &id, receiver.to_owned(), all(others), function)?;
        }
    }
    for (name, types, function) in HIDDEN {
        if is_meant(name) {
            env.add_overload(name, name, all(types), function)?;
        }
    }
    for (name, function) in OF_LISTS {
        if is_meant(name) {
            env.add_member_overload(name, &format!("{name}_list"), LIST_TYPE, Vec::new(), function)?;
        }
    }
    Ok(())
}

fn fail(function: &str, message: impl Into<String>) -> ExecutionError {
    ExecutionError::function_error(function, message.into())
}

fn text<'b, 'v>(text: impl Into<String>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelString::from(text.into())))
}

/// The argument at a position; the environment has checked how many there are.
fn arg<'a, 'v>(args: &'a [CowVal<'_, 'v>], index: usize) -> Result<&'a (dyn Val + 'v), ExecutionError> {
    args.get(index)
        .map(AsRef::as_ref)
        .ok_or(ExecutionError::MissingArgumentOrTarget)
}

fn text_arg<'a>(args: &'a [CowVal<'_, '_>], index: usize) -> Result<&'a str, ExecutionError> {
    arg(args, index)?
        .downcast_ref::<CelString>()
        .map(CelString::inner)
        .ok_or(ExecutionError::MissingArgumentOrTarget)
}

/// The argument itself, unchanged.
fn itself<'b, 'v>(mut args: Args<'b, 'v>) -> Answer<'b, 'v> {
    if args.is_empty() {
        Err(ExecutionError::MissingArgumentOrTarget)
    } else {
        Ok(args.swap_remove(0))
    }
}

/// What an optional holds, or the value itself.
fn unwrapped<'a, 'v>(value: &'a (dyn Val + 'v)) -> Option<&'a (dyn Val + 'v)> {
    match value.downcast_ref::<CelOptional>() {
        Some(optional) => optional.option(),
        None => Some(value),
    }
}

/// An entry of a map, or an item of a list by its number.
fn entry<'v>(value: &(dyn Val + 'v), key: &str) -> Option<Box<dyn Val + 'v>> {
    let indexer = value.as_indexer()?;
    let found = if is_map(value) {
        indexer.get(&CelString::from(key.to_owned()))
    } else if is_list(value) {
        indexer.get(&CelInt::from(key.parse::<i64>().ok()?))
    } else {
        return None;
    };
    found.ok().map(|found| found.as_ref().clone_as_boxed())
}

fn entry_text(value: &dyn Val, key: &str) -> Option<String> {
    entry(value, key)?
        .downcast_ref::<CelString>()
        .map(|text| text.inner().to_owned())
}

/// The items of a list.
fn items<'v>(value: &(dyn Val + 'v)) -> Vec<Box<dyn Val + 'v>> {
    let mut items = Vec::new();
    if let Some(iterable) = value.as_iterable() {
        let mut iterator = iterable.iter();
        while let Some(item) = iterator.next() {
            items.push(item.clone_as_boxed());
        }
    }
    items
}

fn size<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelInt::from(length(arg(&args, 0)?))))
}

fn contains<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelBool::from(
        text_arg(&args, 0)?.contains(text_arg(&args, 1)?),
    )))
}

fn starts_with<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelBool::from(
        text_arg(&args, 0)?.starts_with(text_arg(&args, 1)?),
    )))
}

fn ends_with<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelBool::from(
        text_arg(&args, 0)?.ends_with(text_arg(&args, 1)?),
    )))
}

/// `matches(text, pattern)`: whether a part of it matches. Patterns are those of RE2 without classes of Unicode; the
/// library that knows those is as large as the rest of the plugin.
fn matches<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let pattern = regex_lite::Regex::new(text_arg(&args, 1)?).map_err(|error| fail("matches", error.to_string()))?;
    Ok(CowVal::owned(CelBool::from(pattern.is_match(text_arg(&args, 0)?))))
}

/// `toJson(x)`: its JSON text, with sorted keys.
fn to_json_text<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let json = to_json(arg(&args, 0)?).map_err(|message| fail("toJson", message))?;
    text(json.unwrap_or_default().to_string())
}

/// `dig(x, "a.0.b")`: what stands there, or null.
fn dig<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let path = text_arg(&args, 1)?;
    let mut found = unwrapped(arg(&args, 0)?).map(Val::clone_as_boxed);
    for step in path.split('.').map(str::trim).filter(|step| !step.is_empty()) {
        found = found.and_then(|value| entry(value.as_ref(), step));
    }
    Ok(CowVal::Owned(found.unwrap_or_else(|| Box::new(CelNull))))
}

/// A condition by its type: of a list whose items have a `type`, or of a map by type.
fn condition<'v>(
    function: &str,
    conditions: &(dyn Val + 'v),
    wanted: &str,
) -> Result<Option<Box<dyn Val + 'v>>, ExecutionError> {
    match unwrapped(conditions) {
        Some(map) if is_map(map) => Ok(entry(map, wanted)),
        Some(list) if is_list(list) => Ok(items(list)
            .into_iter()
            .find(|condition| entry_text(condition.as_ref(), "type").as_deref() == Some(wanted))),
        Some(_) | None => Err(fail(function, "the conditions must be a list, or a map by type")),
    }
}

fn status_of(condition: Option<&(dyn Val + '_)>) -> String {
    condition
        .and_then(|condition| entry_text(condition, "status"))
        .unwrap_or_else(|| "Unknown".to_owned())
}

/// Seconds since the condition changed; none if that is not known.
fn age_of(condition: Option<&(dyn Val + '_)>, now: &str) -> Option<i64> {
    let condition = condition?;
    let changed = ["last_transition_time", "lastTransitionTime"]
        .iter()
        .find_map(|key| entry_text(condition, key))?;
    Some((time(now)? - time(&changed)?).num_seconds())
}

fn time(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

/// `conditionStatus(conditions, type)`: its status, or `Unknown`.
fn condition_status<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    text(status_of(
        condition("conditionStatus", arg(&args, 0)?, text_arg(&args, 1)?)?.as_deref(),
    ))
}

/// `conditionAge(conditions, type)`: seconds since it changed, or -1.
fn condition_age<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let condition = condition("conditionAge", arg(&args, 0)?, text_arg(&args, 1)?)?;
    Ok(CowVal::owned(CelInt::from(
        age_of(condition.as_deref(), text_arg(&args, 2)?).unwrap_or(-1),
    )))
}

/// `stableFor(conditions, type, seconds)`: whether it has been true that long.
fn stable_for<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let condition = condition("stableFor", arg(&args, 0)?, text_arg(&args, 1)?)?;
    let seconds = arg(&args, 2)?
        .downcast_ref::<CelInt>()
        .map_or(i64::MAX, |int| *int.inner());
    let age = age_of(condition.as_deref(), text_arg(&args, 3)?);
    let stable = status_of(condition.as_deref()) == "True" && age.is_some_and(|age| age >= seconds);
    Ok(CowVal::owned(CelBool::from(stable)))
}

/// `statusFeedbackValue(feedback, name)`: the text of that value, or nothing.
fn status_feedback_value<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let name = text_arg(&args, 1)?;
    let found = unwrapped(arg(&args, 0)?)
        .and_then(|feedback| entry(feedback, "values"))
        .map(|values| items(values.as_ref()))
        .unwrap_or_default()
        .into_iter()
        .filter(|value| entry_text(value.as_ref(), "name").as_deref() == Some(name))
        .find_map(|value| entry_text(entry(value.as_ref(), "fieldValue")?.as_ref(), "string"));
    text(found.unwrap_or_default())
}

/// `triState(yes, no)`: `True`, `False` or `Unknown`.
fn tri_state<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let holds = |index| {
        Ok(arg(&args, index)?
            .downcast_ref::<CelBool>()
            .is_some_and(|value| *value.inner()))
    };
    text(if holds(0)? {
        "True"
    } else if holds(1)? {
        "False"
    } else {
        "Unknown"
    })
}

/// `has(x.f)`, which is false where `x` is not a map.
fn has<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let key = arg(&args, 1)?;
    let found = unwrapped(arg(&args, 0)?)
        .filter(|value| is_map(*value))
        .and_then(|map| map.as_container())
        .is_some_and(|map| map.contains(key).unwrap_or_default());
    Ok(CowVal::owned(CelBool::from(found)))
}

fn spell<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    if let Some(double) = arg(&args, 0)?.downcast_ref::<CelDouble>() {
        return text(numbers::spell(*double.inner()));
    }
    itself(args)
}

fn strict<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    if let Some(text) = arg(&args, 0)?.downcast_ref::<CelString>()
        && text.inner().contains(['t', 'z'])
    {
        return Err(fail(
            "timestamp",
            format!("`{}` is not a time in RFC 3339", text.inner()),
        ));
    }
    itself(args)
}

fn utc<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    if let Some(time) = arg(&args, 0)?.downcast_ref::<CelTimestamp>() {
        return Ok(CowVal::owned(CelTimestamp::from(
            time.inner().with_timezone(&Utc).fixed_offset(),
        )));
    }
    itself(args)
}

fn first<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    at(&args, 0)
}

fn last<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let list = arg(&args, 0)?;
    at(&args, length(list) - 1)
}

fn at<'b, 'v>(args: &[CowVal<'_, 'v>], index: i64) -> Answer<'b, 'v> {
    let found = entry(arg(args, 0)?, &index.to_string());
    Ok(CowVal::owned(found.map_or_else(CelOptional::none, CelOptional::of)))
}

fn unwrap_optionals<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let mut held: Vec<Box<dyn Val + 'v>> = Vec::new();
    for item in items(arg(&args, 0)?) {
        match item.downcast_ref::<CelOptional>() {
            Some(optional) => held.extend(optional.option().map(Val::clone_as_boxed)),
            None => return Err(fail("unwrapOpt", "every item must be an optional")),
        }
    }
    Ok(CowVal::owned(CelList::from(held)))
}
