//! Whether masks suit the columns that are tagged, for whoever is about to apply them: by the catalog of the database.

use crate::{
    masked::{Unsuited, wanted::Wanted},
    trial::{self, ANSWER_WITHIN},
    worker::Common,
};
use postern_proto::v1::{
    CheckMasks, ConnectionFacts, MasksChecked, Ticket, UnsuitedMask, UnsuitedMasks, connector_message::Message,
    masks_checked::Result as Answer,
};
use postern_types::{id::SessionId, time::Micros};
use postern_wire::error::Report;

/// The most that are told: more than anybody mends at once.
const MAX_TOLD: usize = 100;

/// Answers the control plane.
pub async fn answer(common: Common, asked: CheckMasks) {
    let id = asked.id;
    let result = match checked(&common, asked).await {
        Ok(columns) => Answer::Unsuited(UnsuitedMasks { columns }),
        Err(report) => Answer::Failed(trial::error(report)),
    };
    common.control.say(Message::MasksChecked(MasksChecked { id, result: Some(result) }));
}

async fn checked(common: &Common, asked: CheckMasks) -> Result<Vec<UnsuitedMask>, Report> {
    let CheckMasks { connection, role_mode, database_role, settings, tags, masks, .. } = asked;
    let Some(wanted) = Wanted::of(&ConnectionFacts { tags, masks, ..ConnectionFacts::default() }) else {
        return Ok(Vec::new());
    };
    // What a ticket would say, signed by nobody: it lets no client in. A role that is made for it has an id of its own.
    let ticket = Ticket {
        session_id: SessionId::new().to_string(),
        grant_ends_at_us: Micros::now().plus(2 * ANSWER_WITHIN).0,
        connection,
        role_mode,
        database_role,
        read_only: true,
        settings,
        ..Ticket::default()
    };
    let looked = trial::look(common, &ticket, None).await?;
    let unsuited = common.masked.unsuited(&ticket.connection, &wanted, &looked.snapshot.catalog);
    Ok(unsuited.into_iter().take(MAX_TOLD).map(told).collect())
}

fn told(Unsuited { column, tag, ty, why, suited }: Unsuited) -> UnsuitedMask {
    UnsuitedMask {
        schema: column.relation.schema.to_string(),
        relation: column.relation.name.to_string(),
        column: column.name.to_string(),
        r#type: ty.to_string(),
        tag: tag.to_string(),
        why,
        suited: suited.into_iter().map(|mask| mask.as_str().to_owned()).collect(),
    }
}
