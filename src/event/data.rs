//! Plain data that many hold: what a phase found, what it decided, what others can see of it.
//!
//! Unaware of what it means.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

static NOTHING: Value = Value::Null;

/// Plain data, shared and not copied: events, the report and the phases below hold the same. Null takes no room.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Data(Option<Arc<Value>>);

impl Data {
    /// True of null and of an object without fields.
    #[must_use]
    pub fn says_nothing(&self) -> bool {
        self.is_null() || self.as_object().is_some_and(serde_json::Map::is_empty)
    }

    /// Changes it for this holder; the others keep what they have.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) {
        let mut value = self.0.take().map_or(Value::Null, Arc::unwrap_or_clone);
        change(&mut value);
        *self = value.into();
    }
}

impl From<Value> for Data {
    fn from(value: Value) -> Self {
        Self(if value.is_null() { None } else { Some(Arc::new(value)) })
    }
}

impl Deref for Data {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl PartialEq<Value> for Data {
    fn eq(&self, other: &Value) -> bool {
        **self == *other
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_one_holder_changes_stays_as_it_was_for_the_others() {
        let mut one = Data::from(json!({ "a": 1 }));
        let other = one.clone();
        one.change(|value| value["a"] = 2.into());
        assert_eq!((&one, &other), (&json!({ "a": 2 }).into(), &json!({ "a": 1 }).into()));
        one.change(|value| *value = Value::Null);
        assert_eq!(one, Data::default());
    }

    #[test]
    fn it_reads_as_it_was_written_and_null_and_no_fields_say_nothing() {
        for (value, nothing) in [(json!(null), true), (json!({}), true), (json!([]), false)] {
            let data = Data::from(value.clone());
            assert_eq!(data.says_nothing(), nothing, "{value}");
            let text = serde_json::to_string(&data).unwrap();
            assert_eq!(serde_json::from_str::<Data>(&text).unwrap(), value);
        }
    }
}
