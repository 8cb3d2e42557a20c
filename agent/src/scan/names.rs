//! What the name of a column says that it holds.

use super::columns::Class;

/// Kinds in the order in which they are tried, with the types that hold them and the words that name them: one after the
/// other, in the plural too, or written as one; those that end with `$` only at the end of the name.
const RULES: &[(&str, &[Class], &[&str])] = &[
    ("email", &[Class::Text], &["email", "e mail", "mail$", "email address$"]),
    (
        "ip",
        &[Class::Text, Class::Net],
        &["ip$", "ip address", "ip addr", "remote addr", "remote address", "client addr"],
    ),
    ("iban", &[Class::Text], &["iban"]),
    ("cvv", &[Class::Text, Class::Number], &["cvv", "cvc", "card verification", "card security code"]),
    (
        "card",
        &[Class::Text, Class::Number],
        &["card number", "card no$", "card num", "credit card$", "debit card$", "cc number", "cc num", "pan$"],
    ),
    ("bank_account", &[Class::Text, Class::Number], &["bank account", "bank account number$", "account iban"]),
    ("ssn", &[Class::Text, Class::Number], &["ssn", "social security"]),
    (
        "national_id",
        &[Class::Text, Class::Number],
        &[
            "national id",
            "passport",
            "tax id",
            "taxpayer",
            "nino$",
            "tin$",
            "driver license",
            "drivers license",
            "driver licence",
            "driving licence",
        ],
    ),
    (
        "phone",
        &[Class::Text, Class::Number],
        &[
            "phone",
            "telephone",
            "mobile$",
            "mobile number",
            "cell$",
            "cellphone",
            "cell phone",
            "tel$",
            "fax",
            "msisdn",
        ],
    ),
    (
        "birth_date",
        &[Class::Text, Class::Date],
        &["birth date", "date of birth", "dob$", "birthday", "born$", "born on$"],
    ),
    ("salary", &[Class::Text, Class::Number], &["salary", "wage", "annual income", "monthly income"]),
    (
        "token",
        &[Class::Text, Class::Bytes],
        &[
            "token",
            "secret",
            "api key",
            "access key",
            "secret key",
            "private key",
            "signing key",
            "encryption key",
            "auth key",
            "session key",
            "credential",
        ],
    ),
    (
        "password",
        &[Class::Text, Class::Bytes],
        &["password", "passwd", "pwd", "passphrase", "password hash$", "pass hash$"],
    ),
    (
        "name",
        &[Class::Text],
        &[
            "first name",
            "fname$",
            "last name",
            "lname$",
            "surname",
            "given name",
            "family name",
            "middle name",
            "maiden name",
            "full name",
            "legal name",
            "card holder",
            "holder name",
            "customer name",
            "contact name",
            "person name",
            "patient name",
            "employee name",
            "recipient name",
        ],
    ),
];

/// A place where somebody lives, unless it is one of something else.
const ADDRESS: &[&str] = &["address", "addr", "street", "address line", "street line"];
const OTHER_ADDRESSES: &[&str] = &[
    "email", "mail", "mac", "web", "url", "http", "wallet", "server", "host", "network", "memory", "contract", "ip",
    "bitcoin",
];

/// In tables of people, `name` is a person's.
const PEOPLE: &[&str] = &[
    "customer",
    "client",
    "user",
    "person",
    "people",
    "employee",
    "contact",
    "patient",
    "member",
    "staff",
    "guest",
    "subscriber",
    "student",
    "teacher",
    "candidate",
    "applicant",
    "passenger",
    "driver",
    "cardholder",
];

/// What a name ends with that is about the thing and not the thing.
const ABOUT: &[&str] = &[
    "id",
    "uuid",
    "type",
    "kind",
    "count",
    "status",
    "state",
    "verified",
    "confirmed",
    "enabled",
    "valid",
    "flag",
    "at",
    "template",
    "format",
    "length",
    "domain",
    "provider",
    "brand",
    "hint",
    "policy",
    "expiry",
    "expiration",
    "version",
    "hash",
    "digest",
    "checksum",
    "subject",
    "body",
    "sent",
    "preference",
    "label",
    "code",
    "limit",
];

/// The kind of thing that a column of this name and type seems to hold.
pub fn kind(table: &str, column: &str, class: Class) -> Option<&'static str> {
    let words = words(column);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let fits = |phrases: &[&str]| phrases.iter().any(|phrase| has(&words, phrase));
    let rule = RULES.iter().find(|(_, classes, phrases)| classes.contains(&class) && fits(phrases));
    if let Some((kind, _, _)) = rule {
        return Some(kind);
    }
    let is_place = matches!(class, Class::Text | Class::Document)
        && fits(ADDRESS)
        && !words.iter().any(|word| OTHER_ADDRESSES.contains(word));
    if is_place {
        return Some("address");
    }
    let of_people = || self::words(table).last().is_some_and(|word| PEOPLE.contains(&singular(word)));
    (class == Class::Text && words == ["name"] && of_people()).then_some("name")
}

/// Whether a name has these words, and says nothing about them only.
fn has(words: &[&str], phrase: &str) -> bool {
    let (phrase, at_end) = phrase.strip_suffix('$').map_or((phrase, false), |phrase| (phrase, true));
    let phrase: Vec<&str> = phrase.split(' ').collect();
    let joined = phrase.concat();
    let places = || words.windows(phrase.len()).enumerate().map(|(at, some)| (at + phrase.len(), some));
    let same = |some: &[&str]| some.iter().zip(&phrase).all(|(word, of)| word == of || singular(word) == *of);
    let ends = places().filter(|(_, some)| same(some)).map(|(end, _)| end);
    let as_one = (1..).zip(words).filter(|(_, word)| **word == joined || singular(word) == joined).map(|(end, _)| end);
    let about = words.last().is_some_and(|word| ABOUT.contains(&singular(word)));
    ends.chain(as_one).any(|end| end == words.len() || (!at_end && !about))
}

/// The words of a name: parted by what is no letter, or by a capital after a small letter. Digits are left out.
fn words(name: &str) -> Vec<String> {
    let (mut words, mut word, mut small) = (Vec::new(), String::new(), false);
    for letter in name.chars() {
        if !letter.is_alphabetic() || (letter.is_uppercase() && small) {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphabetic() {
            word.extend(letter.to_lowercase());
        }
        small = letter.is_lowercase();
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn singular(word: &str) -> &str {
    let shorter = word.strip_suffix("es").filter(|shorter| shorter.ends_with("ss"));
    shorter.or_else(|| word.strip_suffix('s').filter(|shorter| !shorter.ends_with('s'))).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_say() {
        for (column, expect) in [
            ("email", "email"),
            ("e_mail", "email"),
            ("EmailAddress", "email"),
            ("contact_emails", "email"),
            ("work_email2", "email"),
            ("ssn", "ssn"),
            ("social_security_number", "ssn"),
            ("phone", "phone"),
            ("phone_number", "phone"),
            ("homePhone", "phone"),
            ("mobile", "phone"),
            ("iban", "iban"),
            ("card_number", "card"),
            ("cardnumber", "card"),
            ("pan", "card"),
            ("cvv2", "cvv"),
            ("firstName", "name"),
            ("last_name", "name"),
            ("surname", "name"),
            ("address", "address"),
            ("shipping_address_line_1", "address"),
            ("addresses", "address"),
            ("street", "address"),
            ("client_ip", "ip"),
            ("ip_address", "ip"),
            ("password_hash", "password"),
            ("pwd", "password"),
            ("api_key", "token"),
            ("refreshToken", "token"),
            ("password_reset_token", "token"),
            ("tax_id", "national_id"),
            ("passport_no", "national_id"),
            ("dateOfBirth", "birth_date"),
            ("monthly_salary", "salary"),
        ] {
            assert_eq!(kind("things", column, Class::Text), Some(expect), "{column}");
        }
        for (class, column, expect) in [
            (Class::Date, "birth_date", "birth_date"),
            (Class::Date, "dob", "birth_date"),
            (Class::Number, "salary", "salary"),
            (Class::Number, "ssn", "ssn"),
            (Class::Net, "client_addr", "ip"),
            (Class::Bytes, "secret", "token"),
            (Class::Document, "home_address", "address"),
        ] {
            assert_eq!(kind("things", column, class), Some(expect), "{column}");
        }
        for table in ["customers", "crm.users", "Person", "staff", "shop_Customer"] {
            assert_eq!(kind(table, "name", Class::Text), Some("name"), "{table}");
        }
    }

    #[test]
    fn what_they_do_not_say() {
        for column in [
            "id",
            "name",
            "email_id",
            "email_template",
            "email_subject",
            "email_type",
            "phone_type",
            "phone_verified_at",
            "token_type",
            "token_hash",
            "card_brand",
            "card_type",
            "company",
            "expansion",
            "panel",
            "zip",
            "ship",
            "tip",
            "description",
            "mac_address",
            "wallet_address",
            "url",
            "product_name",
            "password_changed_at",
            "cellar",
            "title",
            "hash",
            "sku",
            "mailer",
            "wages_policy",
            "",
            "_",
            "1",
        ] {
            assert_eq!(kind("things", column, Class::Text), None, "{column}");
        }
        for (class, column) in [
            (Class::Other, "email"),
            (Class::Date, "password"),
            (Class::Number, "tokens"),
            (Class::Number, "address"),
            (Class::Date, "phone"),
        ] {
            assert_eq!(kind("things", column, class), None, "{column}");
        }
        for table in ["customer_types", "products", "users_roles", ""] {
            assert_eq!(kind(table, "name", Class::Text), None, "{table}");
        }
    }
}
