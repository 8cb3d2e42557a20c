//! What a client is told of a statement that waits for people, or has.

use super::Consent;
use postern_proto::v1::{ClientError, ReviewStands};
use postern_wire::error::Report;

const AGAIN: &str = "Send the identical statement again.";

/// It waits.
pub fn waits(consent: &Consent, stands: &ReviewStands) -> Report {
    let mut detail = consent.message.as_deref().map(|message| format!("{message}. ")).unwrap_or_default();
    detail += &found(stands);
    Report {
        sqlstate: "00000".to_owned(),
        message: format!("this statement waits for the consent of {consent}"),
        detail,
        hint: "Wait, or cancel to withdraw it.".to_owned(),
    }
}

fn found(stands: &ReviewStands) -> String {
    let ReviewStands { review_id, url, .. } = stands;
    let at = if url.is_empty() { String::new() } else { format!(" is at {url}, and") };
    format!("The review{at} is shown by `postern reviews {review_id}`.")
}

/// Nobody has answered while it was held.
pub fn ticket(consent: &Consent, stands: &ReviewStands) -> Report {
    Report {
        sqlstate: "57014".to_owned(),
        message: format!("the statement waits for the consent of {consent}, and was not run yet: {}", stands.review_id),
        detail: found(stands),
        hint: format!(
            "Send the identical statement again once it is approved: it runs then. `postern reviews {}` says how it stands.",
            stands.review_id
        ),
    }
}

/// The control plane has not said anything while it was held.
pub fn unasked() -> Report {
    Report::new(
        "57014",
        "the statement needs the consent of people, and the control plane could not be asked for it; it was not run",
        AGAIN,
    )
}

/// People have said no.
pub fn denied(stands: &ReviewStands) -> Report {
    let ReviewStands { by, reason, review_id, .. } = stands;
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    Report {
        sqlstate: "42501".to_owned(),
        message: format!("the statement was denied by {by}{reason}"),
        detail: format!("It was not run. The review is {review_id}."),
        hint: format!("Change the statement as the reason says, or ask {by}."),
    }
}

/// Nobody has answered in time, or it was withdrawn.
pub fn lapsed(stands: &ReviewStands, how: &str) -> Report {
    Report {
        sqlstate: "57014".to_owned(),
        message: format!("the review of the statement {how}; it was not run"),
        detail: format!("The review is {}.", stands.review_id),
        hint: "Send the statement again: that asks anew.".to_owned(),
    }
}

/// The control plane takes no review of it.
pub fn refused(stands: &ReviewStands) -> Report {
    Report {
        sqlstate: "42501".to_owned(),
        message: format!("the statement needs the consent of people, who cannot be asked: {}", stands.reason),
        detail: "It was not run.".to_owned(),
        hint: "Have the policies changed, or ask for another access role.".to_owned(),
    }
}

/// There is no decision to be had.
pub fn lost(error: ClientError) -> Report {
    let ClientError { sqlstate, message, detail, hint } = error;
    Report { sqlstate, message, detail, hint }
}

/// The client has cancelled.
pub fn cancelled() -> Report {
    Report {
        sqlstate: "57014".to_owned(),
        message: "canceling statement due to user request".to_owned(),
        detail: "It was not run: it waited for the consent of people, and its review is withdrawn.".to_owned(),
        hint: String::new(),
    }
}

/// What was approved in its place needs more than that.
pub fn needs_more(consent: &Consent) -> Report {
    Report::new(
        "42501",
        format!("the text that was approved in the place of this statement needs the consent of {consent}"),
        "Send that text itself.",
    )
}

/// A decision that came too late, or is not for what would run now.
pub fn changed() -> Report {
    Report::new(
        "0A000",
        "what the statement does has changed since it was reviewed, so it was not run",
        "Send it again: that asks anew.",
    )
}

/// Likewise.
pub fn too_late() -> Report {
    Report::new("57014", "the decision on the statement has expired, so it was not run", AGAIN)
}

/// It came where it cannot wait.
pub fn in_batch() -> Report {
    Report::new(
        "0A000",
        "the statement needs the consent of people, and cannot wait for it within a pipeline",
        "Send it by itself: after a Sync, with nothing before it in its batch.",
    )
}

/// Others would wait with it.
pub fn holds_locks() -> Report {
    Report {
        sqlstate: "0A000".to_owned(),
        message: "the statement needs the consent of people, and its transaction holds locks".to_owned(),
        detail: "Others would wait for them as long as it waits.".to_owned(),
        hint: "Commit first, and send it by itself or at the beginning of a transaction.".to_owned(),
    }
}

/// PostgreSQL's own.
pub fn failed_transaction() -> Report {
    Report::new("25P02", "current transaction is aborted, commands ignored until end of transaction block", "")
}

/// The session did not say what it depends on.
pub fn unanswered() -> Report {
    Report::new(
        "0A000",
        "the statement needs the consent of people, and the database did not say which settings it would run with",
        "Send it again, or roll the transaction back and try once more.",
    )
}

/// Too much to be looked at by people.
pub fn too_large(limit: usize) -> Report {
    Report::new(
        "54000",
        format!("a statement that needs the consent of people may have at most {limit} bytes, its values included"),
        "Send it in parts.",
    )
}

/// Nobody has agreed to this one.
pub fn unreviewed() -> Report {
    Report::new(
        "0A000",
        "the statement needs the consent of people since it was bound",
        "Bind it again, and execute it before anything else is prepared.",
    )
}
