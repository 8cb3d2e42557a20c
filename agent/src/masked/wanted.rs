//! What is to be masked on a connection, by names, as the control plane says.

use postern_mask::{
    Mask,
    rules::{Compare, Safe},
};
use postern_proto::v1::{self, ConnectionFacts, QualifiedName, TagMask};
use postern_sql::facts::Name;
use std::{collections::BTreeMap, sync::Arc};

/// What has a tag. What is empty is not named.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The schema.
    pub schema: Arc<str>,
    /// The relation.
    pub relation: Arc<str>,
    /// The column.
    pub column: Arc<str>,
}

/// How the values of columns with a tag are masked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Masking {
    /// What is shown.
    pub mask: Mask,
    /// What may be asked; `None`: what the column's type says.
    pub compare: Option<Compare>,
}

/// Tags and masks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// What is tagged with what.
    pub tags: Vec<(Place, Arc<str>)>,
    /// By tag.
    pub masks: BTreeMap<Arc<str>, Masking>,
    /// What is no way around them.
    pub safe: Safe,
}

impl Wanted {
    /// What is to be masked; nothing where no tag has a mask.
    #[must_use]
    pub fn of(facts: &ConnectionFacts) -> Option<Self> {
        let masks: BTreeMap<_, _> = facts.masks.iter().map(masking).collect();
        let place = |tag: &v1::Tag| Place {
            schema: tag.schema.as_str().into(),
            relation: tag.relation.as_str().into(),
            column: tag.column.as_str().into(),
        };
        let tags: Vec<_> = facts.tags.iter().map(|tag| (place(tag), Arc::from(tag.tag.as_str()))).collect();
        let names = |names: &[QualifiedName]| names.iter().map(name).collect();
        let safe = Safe {
            functions: names(&facts.safe_functions),
            relations: names(&facts.safe_relations),
            channels: facts.safe_channels.iter().cloned().collect(),
        };
        tags.iter().any(|(_, tag)| masks.contains_key(tag)).then_some(Self { tags, masks, safe })
    }
}

fn name(QualifiedName { schema, name }: &QualifiedName) -> Name {
    Name { schema: schema.as_str().into(), name: name.as_str().into() }
}

/// What is not known is the strictest.
fn masking(tagged: &TagMask) -> (Arc<str>, Masking) {
    let mask = match tagged.mask() {
        v1::Mask::Unspecified | v1::Mask::Redact => Mask::Redact,
        v1::Mask::Null => Mask::Null,
        v1::Mask::Partial => u16::try_from(tagged.keep).map_or(Mask::Redact, |keep| Mask::Partial { keep }),
        v1::Mask::Email => Mask::Email,
        v1::Mask::Hash => Mask::Hash,
        v1::Mask::DateYear => Mask::DateYear,
        v1::Mask::Noise => Mask::Noise,
    };
    let compare = match v1::Compare::try_from(tagged.compare) {
        Ok(v1::Compare::Unspecified) => None,
        Ok(v1::Compare::Equality) => Some(Compare::Equality),
        Ok(v1::Compare::Any) => Some(Compare::Any),
        Ok(v1::Compare::None) | Err(_) => Some(Compare::None),
    };
    (tagged.tag.as_str().into(), Masking { mask, compare })
}
