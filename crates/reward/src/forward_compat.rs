//! Forward-compatibility probe: whether a plugin accepts requests of a newer host.

use std::sync::Arc;

use forage_reward_sdk::wire::{Grade, Group};
use serde_json::Value;

use crate::{Plugin, PluginError};

/// Name of a field that no plugin knows.
const NAME: &str = "unheard_of";

impl Plugin {
    /// Forward-compatibility probe: [`Plugin::score`] with an unknown field in every table of the
    /// request. Plugins have to ignore such fields, so that a newer host can add some.
    pub fn score_with_unknown_fields(&self, group: &Group) -> Result<Vec<Grade>, PluginError> {
        let mut value = serde_json::to_value(group).expect("plain data is JSON");
        add_fields(&mut value);
        let request = rmp_serde::to_vec_named(&value).expect("plain data serializes into memory");
        self.score_bytes(group, &Arc::new(request))
    }
}

fn add_fields(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(add_fields),
        Value::Object(fields) => {
            // The keys of the table of aliases are names of entities.
            let values = fields.iter_mut().filter(|(name, _)| name.as_str() != "aliases");
            values.for_each(|(_, value)| add_fields(value));
            // A range of tokens is a type of the standard library, which will not get fields.
            if !fields.contains_key("start") {
                fields.insert(NAME.to_owned(), serde_json::json!({ NAME: [1, null, "x"] }));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use forage_reward_sdk::wire::{Hit, Question, Trajectory};

    use super::*;

    #[test]
    fn nothing_else_is_changed() {
        let played = Trajectory::default().think("x").search("y", [Hit::default()]).answer("z");
        let mut question = Question::new("?", ["z"]);
        question.evidence.aliases.insert("z".into(), vec!["y".into()]);
        let group = Group { question, trajectories: vec![played], step: Some(3) };
        let mut value = serde_json::to_value(&group).unwrap();
        add_fields(&mut value);
        assert_eq!(value.to_string().matches("{\"unheard_of\":[").count(), 10);
        let bytes = rmp_serde::to_vec_named(&value).unwrap();
        assert_eq!(Group::from_bytes(&bytes).unwrap(), group);
    }
}
