//! Reviews as the API shows them.

use crate::store::{
    StoreError, Tx,
    reviews::{self as rows, ReviewRow},
};
use postern_api::{
    quorum::Need,
    review::{Effect, Fails, Literal, Preview, RelationEffect, Review, ReviewedStatement, Sample, SampleValue},
};
use postern_proto::v1::{self, effect_preview::Result as Tried};
use postern_types::{id::ReviewId, time::Micros};

/// A review's page in the console, where there is one.
#[must_use]
pub fn page(public_url: Option<&str>, id: &ReviewId) -> Option<String> {
    public_url.map(|url| format!("{}/reviews/{id}", url.trim_end_matches('/')))
}

/// A review with all that belongs to it.
pub(super) async fn whole(tx: &mut Tx, row: ReviewRow, public_url: Option<&str>) -> Result<Review, StoreError> {
    let votes = rows::votes(tx, &row.id).await?;
    let comments = rows::comments(tx, &row.id).await?;
    let waiting = rows::waits(tx, &row.id).await?.len();
    let needed = |needed: &v1::ReviewersNeeded| Need { groups: vec![needed.group.clone()], count: needed.count };
    let v1::ReviewedStatement { reviewers, preview, .. } = &row.statement;
    Ok(Review {
        url: page(public_url, &row.id),
        needed: reviewers.iter().map(needed).collect(),
        preview: preview.as_ref().map(preview_of).unwrap_or_default(),
        statement: statement(&row.statement),
        waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
        uses: u32::try_from(row.uses).unwrap_or(u32::MAX),
        id: row.id,
        status: row.status,
        principal: row.principal,
        on_behalf_of: row.on_behalf_of,
        behalf_proof: row.behalf_proof,
        owner: row.owner,
        grant_id: row.grant_id,
        reason: row.reason,
        ticket: row.ticket,
        session_id: row.session_id,
        connection: row.connection,
        role: row.role,
        escalate_to: row.escalate_to,
        escalates_at: row.escalate_at,
        escalated_at: row.escalated_at,
        votes,
        comments,
        created_at: row.created_at,
        expires_at: row.expires_at,
        decided_at: row.decided_at,
        decision: row.decision,
        claimed_at: row.claimed_at,
        because: row.because,
    })
}

fn statement(told: &v1::ReviewedStatement) -> ReviewedStatement {
    let literal = |literal: &v1::ReviewedLiteral| Literal { name: literal.name.clone(), text: literal.text.clone() };
    ReviewedStatement {
        sql: told.sql.clone(),
        sql_bytes: (told.sql_bytes > 0).then_some(told.sql_bytes),
        literals: told.literals.iter().map(literal).collect(),
        tag: told.tag.clone(),
        relations: told.relations.clone(),
        policies: told.policies.clone(),
        message: text(&told.message),
        not_boundable_because: (!told.boundable).then(|| told.not_boundable_because.clone()),
        editable: told.editable,
        in_transaction: told.in_transaction,
    }
}

fn preview_of(told: &v1::EffectPreview) -> Preview {
    let mut preview = Preview {
        notes: told.notes.clone(),
        plan: told.plan.clone(),
        at: (told.at_us > 0).then_some(Micros(told.at_us)),
        duration_ms: told.duration_ms,
        ..Preview::default()
    };
    match &told.result {
        Some(Tried::Effect(effect)) => preview.effect = Some(effect_of(effect)),
        Some(Tried::NotMade(why)) => preview.not_made = Some(why.clone()),
        Some(Tried::Fails(error)) => {
            preview.fails = Some(Fails { sqlstate: error.sqlstate.clone(), message: error.message.clone() });
        }
        None => {}
    }
    preview
}

fn effect_of(told: &v1::Effect) -> Effect {
    let relation = |told: &v1::RelationEffect| RelationEffect {
        relation: told.relation.clone(),
        inserted: told.inserted,
        updated: told.updated,
        deleted: told.deleted,
        indirect: told.indirect,
        total: u64::try_from(told.total).ok(),
    };
    let sample = |told: &v1::EffectSample| Sample {
        relation: told.relation.clone(),
        columns: told.columns.clone(),
        before: told.before.iter().map(values).collect(),
        after: told.after.iter().map(values).collect(),
    };
    Effect {
        exact: told.exact,
        rows: told.rows,
        relations: told.relations.iter().map(relation).collect(),
        samples: told.samples.iter().map(sample).collect(),
    }
}

fn values(row: &v1::SampleRow) -> Vec<SampleValue> {
    let value = |value: &v1::SampleValue| SampleValue { text: value.text.clone(), masked: value.masked };
    row.values.iter().map(value).collect()
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
