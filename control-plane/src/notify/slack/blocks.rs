//! What a message in Slack looks like (Block Kit). What people wrote stands in elements of rich text, in which Slack
//! reads no markup: it can mention nobody, link nowhere and look like nothing else.

use crate::notify::words;
use postern_api::notification::Message;
use serde_json::{Value, json};

/// What a button does, and what a modal's submission is for.
pub(super) const APPROVE: &str = "postern.approve";
pub(super) const DENY: &str = "postern.deny";

/// The input for a reason: its block and itself.
pub(super) const REASON: &str = "reason";

/// The longest reason that can be typed.
const MAX_REASON: usize = crate::grants::MAX_REASON;

/// Text and blocks of a message.
pub(super) fn of(message: &Message, with_buttons: bool) -> Value {
    let headline = words::headline(message);
    let mut lines = vec![section(&[bold(&headline)])];
    for (name, value) in words::facts(message) {
        lines.push(section(&[bold(&format!("{name}: ")), json!({ "type": "text", "text": value })]));
    }
    if let Some(statement) = words::statement(message) {
        let text = json!({ "type": "text", "text": statement });
        lines.push(json!({ "type": "rich_text_preformatted", "elements": [text] }));
    }
    let mut blocks = vec![json!({ "type": "rich_text", "elements": lines })];
    let mut buttons = Vec::new();
    let id = &message.data.id;
    if with_buttons && message.data.status == "pending" {
        buttons.push(button("Approve", APPROVE, json!({ "style": "primary", "value": id })));
        buttons.push(button("Deny", DENY, json!({ "style": "danger", "value": id })));
    }
    if let Some(url) = &message.data.url {
        buttons.push(button("Open", "postern.open", json!({ "url": url })));
    }
    if !buttons.is_empty() {
        blocks.push(json!({ "type": "actions", "elements": buttons }));
    }
    // For where blocks are not shown: in notifications of a phone.
    json!({ "text": escaped(&headline), "blocks": blocks, "unfurl_links": false, "unfurl_media": false })
}

fn section(elements: &[Value]) -> Value {
    json!({ "type": "rich_text_section", "elements": elements })
}

fn bold(text: &str) -> Value {
    json!({ "type": "text", "text": text, "style": { "bold": true } })
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text })
}

fn button(text: &str, action: &str, more: Value) -> Value {
    let mut button = json!({ "type": "button", "action_id": action, "text": plain(text) });
    if let (Some(fields), Value::Object(more)) = (button.as_object_mut(), more) {
        fields.extend(more);
    }
    button
}

/// The modal that asks why something is denied.
pub(super) fn why(id: &str) -> Value {
    json!({
        "type": "modal",
        "callback_id": DENY,
        "private_metadata": id,
        "title": plain("Deny"),
        "submit": plain("Deny"),
        "close": plain("Cancel"),
        "blocks": [{
            "type": "input",
            "block_id": REASON,
            "label": plain("Why? Whoever asked reads it."),
            "element": { "type": "plain_text_input", "action_id": REASON, "multiline": true, "max_length": MAX_REASON },
        }],
    })
}

/// Text in which Slack reads no mention, no channel and no link.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
