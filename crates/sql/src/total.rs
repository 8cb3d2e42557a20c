//! The functions, operators and casts of the server's own that are total: whatever values they are given, they give a
//! result, neither fail nor wait, and tell nobody else. So nothing is learnt of a value but by the result.
//!
//! A function that can fail for some values tells by its failing which value it was given: `1 / (x - 7)` is a question. Those
//! that are not listed are taken for such. Three things do not count: that a result takes more memory than there is (a text
//! has 1 GB at most); that a value lies outside of what its type's neighbour can hold, where nothing but the value itself
//! decides it and nobody stores such (a date after the year 294276); and what fails for every value alike.
//!
//! Reviewed against `pg_proc`, `pg_operator` and `pg_cast` of 13 to 18, with all that bear the names.

/// Whichever of the arguments.
const ALL: u32 = u32::MAX;
/// The first.
const FIRST: u32 = 1;
/// The second.
const SECOND: u32 = 1 << 1;
/// The third.
const THIRD: u32 = 1 << 2;
/// The second, the fourth and so on: values that follow their keys, which must not be NULL.
const VALUES: u32 = 0xAAAA_AAAA;

/// Functions, and their arguments for which they are total, whatever the others are.
const FUNCTIONS: &[(&str, u32)] = &[
    ("array_agg", ALL),
    ("array_dims", ALL),
    ("array_length", ALL),
    ("array_lower", ALL),
    ("array_ndims", ALL),
    ("array_to_json", ALL),
    ("array_to_string", ALL),
    ("array_upper", ALL),
    ("bit_and", ALL),
    ("bit_length", ALL),
    ("bit_or", ALL),
    ("bool_and", ALL),
    ("bool_or", ALL),
    ("btrim", ALL),
    ("cardinality", ALL),
    ("ceil", ALL),
    ("ceiling", ALL),
    ("char_length", ALL),
    ("character_length", ALL),
    ("concat", ALL),
    ("concat_ws", ALL),
    ("count", ALL),
    ("date", ALL),
    // Which field is wanted may be none that there is.
    ("date_part", SECOND),
    ("date_trunc", SECOND),
    ("encode", FIRST),
    ("every", ALL),
    ("extract", SECOND),
    ("family", ALL),
    ("first_value", ALL),
    ("floor", ALL),
    ("host", ALL),
    ("initcap", ALL),
    ("is_normalized", FIRST),
    ("isfinite", ALL),
    ("json_agg", ALL),
    ("json_build_array", ALL),
    ("json_build_object", VALUES),
    ("json_extract_path", ALL),
    ("json_extract_path_text", ALL),
    ("json_object_agg", VALUES),
    ("json_typeof", ALL),
    ("jsonb_agg", ALL),
    ("jsonb_build_array", ALL),
    ("jsonb_build_object", VALUES),
    ("jsonb_extract_path", ALL),
    ("jsonb_extract_path_text", ALL),
    ("jsonb_object_agg", VALUES),
    ("jsonb_pretty", ALL),
    ("jsonb_typeof", ALL),
    // How far it is to the other row must be no more than an integer.
    ("lag", FIRST | THIRD),
    ("last_value", ALL),
    ("lead", FIRST | THIRD),
    ("left", ALL),
    // Of bytea with an encoding it fails where the bytes are none of it.
    ("length", ALL),
    ("lower", ALL),
    // To which length: it may be too long.
    ("lpad", FIRST | THIRD),
    ("ltrim", ALL),
    ("masklen", ALL),
    ("max", ALL),
    ("md5", ALL),
    ("min", ALL),
    ("mode", ALL),
    ("normalize", FIRST),
    ("nth_value", FIRST),
    ("num_nonnulls", ALL),
    ("num_nulls", ALL),
    ("octet_length", ALL),
    // From where and how much: it must not be negative.
    ("overlay", FIRST | SECOND),
    ("percentile_cont", SECOND),
    ("percentile_disc", SECOND),
    ("pg_collation_for", ALL),
    ("pg_column_size", ALL),
    ("pg_typeof", ALL),
    ("position", ALL),
    ("quote_ident", ALL),
    ("quote_literal", ALL),
    ("quote_nullable", ALL),
    // The pattern may be none.
    ("regexp_count", FIRST),
    ("regexp_instr", FIRST),
    ("regexp_like", FIRST),
    ("regexp_match", FIRST),
    ("regexp_matches", FIRST),
    ("regexp_replace", FIRST),
    ("regexp_split_to_array", FIRST),
    ("regexp_split_to_table", FIRST),
    ("regexp_substr", FIRST),
    ("replace", ALL),
    ("reverse", ALL),
    ("right", ALL),
    ("round", FIRST),
    ("row_to_json", ALL),
    ("rpad", FIRST | THIRD),
    ("rtrim", ALL),
    ("sha224", ALL),
    ("sha256", ALL),
    ("sha384", ALL),
    ("sha512", ALL),
    ("sign", ALL),
    // There is no part 0.
    ("split_part", FIRST | SECOND),
    ("starts_with", ALL),
    ("string_agg", ALL),
    ("string_to_array", ALL),
    ("strpos", ALL),
    // From where and how much: it must not be negative. The pattern may be none.
    ("substr", FIRST),
    ("substring", FIRST),
    ("text", ALL),
    ("to_char", FIRST),
    ("to_hex", ALL),
    ("to_json", ALL),
    ("to_jsonb", ALL),
    ("translate", ALL),
    ("trunc", FIRST),
    ("unnest", ALL),
    ("upper", ALL),
    ("xmlagg", ALL),
];

/// Sums that cannot grow too large but by what is put beside a column's own values: of the column alone they are total.
const SUMS: &[&str] = &["avg", "sum"];

/// Which arguments of a built-in function it is total for, as bits from the first on.
pub(crate) fn arguments(name: &str, count: usize) -> u32 {
    if name == "length" && count != 1 {
        return 0;
    }
    let found = FUNCTIONS.binary_search_by(|(own, _)| (*own).cmp(name));
    found.ok().and_then(|at| FUNCTIONS.get(at)).map_or(0, |(_, arguments)| *arguments)
}

/// Whether an aggregate is total for a column as it stands.
pub(crate) fn sums(name: &str) -> bool {
    SUMS.contains(&name)
}

/// The types of text that there are.
const fn is_text(oid: u32) -> bool {
    // "char", name, text, char(n), varchar
    matches!(oid, 18 | 19 | 25 | 1042 | 1043)
}

/// Whether a built-in operator is total for what stands on its left, and on its right. The types are those of domains' bases,
/// where they are known.
pub(crate) fn operands(name: &str, left: Option<u32>, right: Option<u32>) -> (bool, bool) {
    match name {
        // Comparison, containment, overlap.
        "=" | "<>" | "<" | "<=" | ">" | ">=" | "~<~" | "~<=~" | "~>~" | "~>=~" | "^@" | "@>" | "<@" | "&&" | "?"
        | "?|" | "?&" | "@@" | "*=" | "*<>" => (true, true),
        // The pattern may be none.
        "~~" | "!~~" | "~~*" | "!~~*" | "~" | "!~" | "~*" | "!~*" => (true, false),
        // Parts of JSON: NULL where there is no such.
        "->" | "->>" | "#>" | "#>>" => (true, true),
        // With text on one side it is text, or an array with one more element.
        "||" => {
            let text = left.is_some_and(is_text) || right.is_some_and(is_text) || (left, right) == (Some(17), Some(17));
            (text, text)
        }
        _ => (false, false),
    }
}

/// Whether a built-in cast is total, from a type where it is known. Both are base types, of domains what they are over.
pub(crate) fn cast(from: Option<u32>, to: u32) -> bool {
    // Every type has a text. What is too long is cut.
    if is_text(to) {
        return true;
    }
    match (from, to) {
        // To itself, but for numeric and the like, whose precision may be too small.
        (Some(from), _) if from == to => !matches!(to, 1700 | 1083 | 1266 | 1114 | 1184 | 1186),
        // Of int2, int4, int8 to a larger one, to numeric, to floating point.
        (Some(21), 23 | 20 | 1700 | 700 | 701) => true,
        (Some(23), 20 | 1700 | 700 | 701) => true,
        (Some(20), 1700 | 700 | 701) => true,
        (Some(700), 701) => true,
        (Some(16), 23) | (Some(23), 16) => true,
        // Of a timestamp its date.
        (Some(1114 | 1184), 1082) => true,
        (Some(3802), 114) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, FUNCTIONS, arguments};

    #[test]
    fn the_list_is_sorted_for_its_binary_search() {
        assert!(FUNCTIONS.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!((arguments("lower", 1), arguments("pg_sleep", 1)), (ALL, 0));
        assert_eq!((arguments("length", 1), arguments("length", 2)), (ALL, 0));
    }
}
