//! From what was seen of a column to what it seems to hold, how sure that is, and the tag and mask that are proposed.

use postern_api::{document::Mask, scan::Confidence};
use postern_proto::v1::{Finding, ScannedColumn, TypeClass};
use std::collections::BTreeMap;

/// Of so many values a name's promise has to show, where a detector would see it.
const ENOUGH_TO_DOUBT: u64 = 10;

/// What a column seems to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What connectors name so.
    Known(&'static Known),
    /// Text with any of them among other words.
    Text,
    /// A document with any of them.
    Document,
}

/// A kind that columns are named for or a detector finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// As connectors say it.
    name: &'static str,
    tag: &'static str,
    /// The mask, where the type suits it.
    mask: Mask,
    /// How many per cent of the values have to be one as a whole, where only a detector says so; none has one where this is
    /// absent.
    whole: Option<u64>,
    /// How many per cent of the values have to hold one among other words.
    within: u64,
}

/// What is no chance in one value.
const CLEAR: (Option<u64>, u64) = (Some(50), 5);
/// One number in ten has the right check digit.
const CHECKED: (Option<u64>, u64) = (Some(50), 20);
/// Any number of the right length might be one.
const VAGUE: (Option<u64>, u64) = (Some(80), 30);

const fn known(name: &'static str, tag: &'static str, mask: Mask, shares: (Option<u64>, u64)) -> Known {
    Known { name, tag, mask, whole: shares.0, within: shares.1 }
}

static KNOWN: [Known; 15] = [
    known("email", "pii.email", Mask::Email, CLEAR),
    known("card", "pci.pan", Mask::Partial(4), CHECKED),
    known("iban", "pci.iban", Mask::Partial(4), CLEAR),
    known("ssn", "pii.ssn", Mask::Partial(4), CLEAR),
    known("token", "secret.token", Mask::Redact, CLEAR),
    known("phone", "pii.phone", Mask::Partial(2), VAGUE),
    known("password", "secret.password", Mask::Redact, (None, 100)),
    known("cvv", "pci.cvv", Mask::Redact, (None, 100)),
    known("bank_account", "pci.account", Mask::Partial(4), (None, 100)),
    known("national_id", "pii.national_id", Mask::Partial(4), (None, 100)),
    known("birth_date", "pii.birth_date", Mask::DateYear, (None, 100)),
    known("name", "pii.name", Mask::Redact, (None, 100)),
    known("address", "pii.address", Mask::Redact, (None, 100)),
    known("ip", "pii.ip", Mask::Redact, (None, 100)),
    known("salary", "pii.salary", Mask::Noise, (None, 100)),
];

impl Kind {
    fn of(name: &str) -> Option<&'static Known> {
        KNOWN.iter().find(|known| known.name == name)
    }

    /// Its tag and that tag's mask. Where the tag has a mask already that does not suit the type, it is another tag.
    pub(super) fn tag(self, class: TypeClass, masks: &BTreeMap<String, Mask>) -> (String, Mask) {
        let (tag, mask) = match self {
            Self::Known(known) => (known.tag, known.mask.clone()),
            Self::Text => ("pii.text", Mask::Redact),
            Self::Document => ("pii.document", Mask::Redact),
        };
        let mask = if suits(&mask, class) { mask } else { Mask::Redact };
        match masks.get(tag) {
            None => (tag.to_owned(), mask),
            Some(mask) if suits(mask, class) => (tag.to_owned(), mask.clone()),
            Some(_) => (format!("{tag}.redacted"), Mask::Redact),
        }
    }
}

/// Whether values of such a type can be masked so, for certain.
fn suits(mask: &Mask, class: TypeClass) -> bool {
    match mask {
        Mask::Redact | Mask::Null => true,
        Mask::Partial(_) | Mask::Email | Mask::Hash => class == TypeClass::Text,
        Mask::DateYear => class == TypeClass::Date,
        Mask::Noise => matches!(class, TypeClass::Number | TypeClass::Date),
    }
}

/// What a column seems to hold, and how sure that is.
pub(super) fn judge(column: &ScannedColumn) -> Option<(Kind, Confidence)> {
    let values = column.values;
    if column.class() == TypeClass::Document {
        return judge_document(column);
    }
    let detected = |finding: &Finding| {
        let known = Kind::of(&finding.what)?;
        is_share(finding.whole, values, known.whole?).then_some((finding.whole, known))
    };
    let detected = column.found.iter().filter_map(detected).max_by_key(|(whole, _)| *whole);
    let named = Kind::of(&column.named);
    match (detected, named) {
        (Some((_, detected)), Some(named)) if detected == named => Some((Kind::Known(named), Confidence::High)),
        (Some((whole, detected)), _) => {
            let sure = is_share(whole, values, 90) && detected.whole != VAGUE.0;
            Some((Kind::Known(detected), if sure { Confidence::High } else { Confidence::Medium }))
        }
        (None, Some(named)) => {
            let hits = column.found.iter().filter(|finding| finding.what == named.name);
            let hits: u64 = hits.map(|finding| finding.whole.saturating_add(finding.within)).sum();
            let doubtful = named.whole.is_some() && values >= ENOUGH_TO_DOUBT && !is_share(hits, values, 10);
            Some((Kind::Known(named), if doubtful { Confidence::Low } else { Confidence::Medium }))
        }
        (None, None) => {
            let holds = column.found.iter().any(|finding| holds(finding, values));
            (holds && column.class() == TypeClass::Text).then_some((Kind::Text, Confidence::Medium))
        }
    }
}

fn judge_document(column: &ScannedColumn) -> Option<(Kind, Confidence)> {
    let holds = |finding: &&Finding| finding.by_name || holds(finding, column.values);
    if column.found.iter().filter(holds).any(|finding| !finding.by_name) {
        return Some((Kind::Document, Confidence::High));
    }
    let named = !column.named.is_empty() || column.found.iter().any(|finding| finding.by_name);
    named.then_some((Kind::Document, Confidence::Medium))
}

/// Whether so many values hold it, as a whole or among other words, that it is no chance.
fn holds(finding: &Finding, values: u64) -> bool {
    let hits = finding.whole.saturating_add(finding.within);
    Kind::of(&finding.what).is_some_and(|known| known.whole.is_some() && is_share(hits, values, known.within))
}

fn is_share(hits: u64, of: u64, percent: u64) -> bool {
    hits > 0 && hits.saturating_mul(100) >= of.saturating_mul(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(what: &str, whole: u64, within: u64) -> Finding {
        Finding { what: what.to_owned(), whole, within, ..Finding::default() }
    }

    fn check(class: TypeClass, named: &str, values: u64, found: &[Finding], expect: Option<(&str, Confidence)>) {
        let column = ScannedColumn {
            class: class.into(),
            named: named.to_owned(),
            values,
            found: found.to_vec(),
            ..ScannedColumn::default()
        };
        let judged = judge(&column).map(|(kind, confidence)| (kind.tag(class, &BTreeMap::new()).0, confidence));
        let judged = judged.as_ref().map(|(tag, confidence)| (tag.as_str(), *confidence));
        assert_eq!(judged, expect, "{column:?}");
    }

    #[test]
    fn names_and_values() {
        use Confidence::{High, Low, Medium};
        use TypeClass::{Date, Number, Text};
        check(Text, "", 100, &[], None);
        check(Text, "email", 100, &[finding("email", 60, 0)], Some(("pii.email", High)));
        check(Text, "", 100, &[finding("email", 60, 0)], Some(("pii.email", Medium)));
        check(Text, "", 100, &[finding("email", 95, 0)], Some(("pii.email", High)));
        // What values are counts for more than what the name says.
        check(Text, "phone", 100, &[finding("email", 95, 0)], Some(("pii.email", High)));
        check(Text, "email", 100, &[finding("email", 0, 3)], Some(("pii.email", Low)));
        check(Text, "email", 0, &[], Some(("pii.email", Medium)));
        check(Text, "email", 9, &[], Some(("pii.email", Medium)));
        check(Text, "password", 100, &[], Some(("secret.password", Medium)));
        check(Text, "", 100, &[finding("phone", 79, 0)], Some(("pii.text", Medium)));
        check(Text, "", 100, &[finding("phone", 29, 0)], None);
        check(Text, "", 100, &[finding("phone", 100, 0)], Some(("pii.phone", Medium)));
        check(Text, "", 100, &[finding("email", 2, 3)], Some(("pii.text", Medium)));
        check(Text, "", 100, &[finding("email", 2, 2)], None);
        check(Text, "", 100, &[finding("card", 12, 0)], None);
        check(Text, "", 100, &[finding("card", 12, 12)], Some(("pii.text", Medium)));
        check(Number, "", 100, &[finding("card", 49, 0)], None);
        check(Number, "", 100, &[finding("card", 50, 0)], Some(("pci.pan", Medium)));
        check(Date, "birth_date", 0, &[], Some(("pii.birth_date", Medium)));
    }

    #[test]
    fn documents() {
        let at = |path: &str, finding: Finding| Finding { path: path.to_owned(), ..finding };
        let named = |what: &str| Finding { by_name: true, ..finding(what, 40, 0) };
        let document = TypeClass::Document;
        check(document, "", 100, &[], None);
        check(document, "", 100, &[at("a.b", finding("email", 5, 0))], Some(("pii.document", Confidence::High)));
        check(document, "", 100, &[at("a.b", finding("email", 4, 0))], None);
        check(document, "", 100, &[at("a.b", named("password"))], Some(("pii.document", Confidence::Medium)));
        check(document, "address", 100, &[], Some(("pii.document", Confidence::Medium)));
    }

    #[test]
    fn a_mask_suits_the_type() {
        let tag = |name: &str, class, masks: &BTreeMap<_, _>| Kind::Known(Kind::of(name).unwrap()).tag(class, masks);
        let none = BTreeMap::new();
        assert_eq!(tag("ssn", TypeClass::Text, &none), ("pii.ssn".to_owned(), Mask::Partial(4)));
        assert_eq!(tag("ssn", TypeClass::Number, &none), ("pii.ssn".to_owned(), Mask::Redact));
        assert_eq!(tag("salary", TypeClass::Number, &none), ("pii.salary".to_owned(), Mask::Noise));
        assert_eq!(tag("birth_date", TypeClass::Text, &none), ("pii.birth_date".to_owned(), Mask::Redact));
        let masks = BTreeMap::from([("pii.ssn".to_owned(), Mask::Hash)]);
        assert_eq!(tag("ssn", TypeClass::Text, &masks), ("pii.ssn".to_owned(), Mask::Hash));
        assert_eq!(tag("ssn", TypeClass::Number, &masks), ("pii.ssn.redacted".to_owned(), Mask::Redact));
    }
}
