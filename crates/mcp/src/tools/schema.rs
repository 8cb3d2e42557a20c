//! What a client is told of the tools.

use super::{access, query};
use crate::Refusal;
use rmcp::{
    handler::server::tool::{schema_for_output, schema_for_type},
    model::{Tool, ToolAnnotations},
};
use schemars::JsonSchema;
use serde_json::Value;
use std::sync::Arc;

/// What any of them answers.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its schema is all that is used of it")]
enum Outcome<T> {
    /// It was done.
    Done(T),
    /// It was not.
    Failed {
        /// Why.
        error: Refusal,
    },
}

/// What a tool does to the world, for clients that ask before they let a model call it.
#[derive(Clone, Copy)]
enum Effect {
    /// Nothing.
    Reads,
    /// It adds something that can be taken back.
    Asks,
    /// It may change or end something for good.
    Changes,
}

pub(super) fn tools() -> Vec<Tool> {
    use Effect::{Asks, Changes, Reads};
    vec![
        tool::<access::Nothing, access::Whoami>(
            "whoami",
            "Who I am",
            "Who Postern takes you for, on whose behalf, and until when your token is good.",
            Reads,
        ),
        tool::<access::Nothing, access::Connections>(
            "connections",
            "What can be asked for",
            "The databases that you can ask for, their access roles, and what the answer to a request would be.",
            Reads,
        ),
        tool::<access::Nothing, access::Access>(
            "access",
            "What I have",
            "Your open grants, and what of yours waits for people: requests for access, and statements.",
            Reads,
        ),
        tool::<access::Ask, access::Standing>(
            "request_access",
            "Ask for access",
            "Asks for an access role of a database, for a time. Where people have to agree, it waits for a while; still \
             `pending` then, it stays open, and `status` says how it stands. An open grant that is all that is asked for is \
             the answer. Ask for the least that will do: reading if you only read, minutes rather than hours, and say \
             truthfully why.",
            Asks,
        ),
        tool::<access::Of, access::Standing>(
            "status",
            "How it stands",
            "How a request for access (`req_…`) or the review of a statement (`rev_…`) stands; it can wait for the answer.",
            Reads,
        ),
        tool::<access::Comment, access::Standing>(
            "comment",
            "Say something about it",
            "Says something to the people who decide on a request for access (`req_…`) or on a statement (`rev_…`), for \
             example the answer to a question among its `comments`. It decides nothing.",
            Asks,
        ),
        tool::<query::Arguments, query::Answer>(
            "query",
            "Run SQL",
            "Runs SQL in a session of its own under an open grant of yours: no transaction, setting or temporary table \
             outlives the call. The result is bounded (`truncated` says that it was cut): count or add up in SQL rather than \
             reading rows. A statement that people have to agree to waits a while; if nobody answers, the error has a \
             `review`: once `status` says that it is approved, send the identical statement again, and it runs.",
            Changes,
        ),
        tool::<access::Release, access::Released>(
            "release",
            "Give back",
            "Ends a grant of yours (`grt_…`) with its sessions, or withdraws a request (`req_…`) or the review of a statement \
             (`rev_…`). Do so when you are done.",
            Changes,
        ),
    ]
}

fn tool<I: JsonSchema + 'static, O: JsonSchema + 'static>(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    effect: Effect,
) -> Tool {
    let annotations = ToolAnnotations::new()
        .read_only(matches!(effect, Effect::Reads))
        .destructive(matches!(effect, Effect::Changes))
        .idempotent(matches!(effect, Effect::Reads))
        .open_world(false);
    let object = |schema: Arc<serde_json::Map<String, Value>>| {
        let mut schema = schema.as_ref().clone();
        // Clients of older revisions want it said of each, and know one dialect by no name.
        schema.insert("type".to_owned(), Value::from("object"));
        schema.remove("$schema");
        schema.remove("title");
        Arc::new(schema)
    };
    Tool::new(name, description, object(schema_for_type::<I>()))
        .with_title(title)
        .with_raw_output_schema(object(schema_for_output::<Outcome<O>>()))
        .with_annotations(annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people decide, no model decides.
    #[test]
    fn no_tool_answers_for_people() {
        let names: Vec<_> = tools().into_iter().map(|tool| tool.name).collect();
        assert_eq!(
            names,
            ["whoami", "connections", "access", "request_access", "status", "comment", "query", "release"]
        );
        assert!(names.iter().all(|name| super::super::Name::of(name).is_some()));
    }

    #[test]
    fn schemas_say_what_is_taken_and_given() {
        for tool in tools() {
            let input = Value::Object(tool.input_schema.as_ref().clone());
            assert_eq!(
                (&input["type"], &input["additionalProperties"]),
                (&"object".into(), &false.into()),
                "{}",
                tool.name
            );
            let output = Value::Object(tool.output_schema.unwrap().as_ref().clone());
            assert_eq!(output["type"], "object", "{}", tool.name);
            assert_eq!(output["anyOf"].as_array().unwrap().len(), 2, "{}: {output}", tool.name);
        }
    }
}
