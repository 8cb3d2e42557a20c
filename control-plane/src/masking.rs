//! What of a connection is masked, for those who set it; and what a mask shows of a made-up value. No value of a database
//! comes here: masks of real ones are made in the connector.

use crate::{
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize},
    store::{Store, connections},
};
use postern_api::{
    document::{self, MaskOptions},
    masking::{MAX_SAMPLE_BYTES, MaskedConnection, SampleType, TriedMask, TryMask},
};
use postern_mask::{Format, Key, Mask, Masker, Put, Type, types::Text};

/// The key of samples: connections have keys of their own, so that a sample's hash says nothing of theirs.
const SAMPLE_KEY: &[u8; 32] = b"made-up values have no secret...";

/// The tags and masks of a connection, as they were applied.
///
/// # Errors
/// When there is none of that name, or the caller may not see its configuration.
pub async fn of(store: &Store, actor: &Actor, name: &str) -> Result<MaskedConnection, Problem> {
    authorize(actor, Action::See, &Resource::Configuration)?;
    let mut tx = store.read().await?;
    let document = connections::by_name(&mut tx, name).await?.map(|row| row.document);
    let document = document
        .ok_or_else(|| Problem::not_found("connection", name).hint("`postern connections` shows which there are"))?;
    let options = |(tag, masking): (String, document::Masking)| {
        let options = MaskOptions { mask: masking.mask().clone(), compare: masking.compare() };
        (tag, options)
    };
    let masks = document.masks.into_iter().map(options).collect();
    Ok(MaskedConnection { connection: document.name, tags: document.tags, masks })
}

/// What a mask shows of a value that somebody has made up.
///
/// # Errors
/// When the caller may not see the configuration, the value is too long, or the mask does not suit its type.
pub fn sample(actor: &Actor, sample: &TryMask) -> Result<TriedMask, Problem> {
    authorize(actor, Action::See, &Resource::Configuration)?;
    if sample.value.len() > MAX_SAMPLE_BYTES {
        return Err(Problem::invalid("value", format!("the value may have at most {MAX_SAMPLE_BYTES} bytes")));
    }
    let (mask, ty) = (mask(&sample.mask)?, type_of(sample.r#type));
    mask.suits(&ty).map_err(|unsuited| Problem::invalid("mask", unsuited.to_string()))?;
    let mut shown = Vec::new();
    let put = Masker::new(Some(mask), ty, &Key::new(SAMPLE_KEY)).put(Format::Text, sample.value.as_bytes(), &mut shown);
    let value = (put != Put::Null).then(|| String::from_utf8_lossy(&shown).into_owned());
    Ok(TriedMask { value })
}

fn mask(mask: &document::Mask) -> Result<Mask, Problem> {
    Ok(match mask {
        document::Mask::Redact => Mask::Redact,
        document::Mask::Null => Mask::Null,
        document::Mask::Partial(keep) => {
            let keep = u16::try_from(*keep);
            Mask::Partial { keep: keep.map_err(|_| Problem::invalid("mask", "`partial` keeps too many characters"))? }
        }
        document::Mask::Email => Mask::Email,
        document::Mask::Hash => Mask::Hash,
        document::Mask::DateYear => Mask::DateYear,
        document::Mask::Noise => Mask::Noise,
    })
}

fn type_of(of: SampleType) -> Type {
    match of {
        SampleType::Text => Type::Text(Text::default()),
        SampleType::Date => Type::Date,
        SampleType::Numeric => Type::Numeric(None),
    }
}
