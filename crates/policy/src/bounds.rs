//! How deep and how long a policy may be. Cedar's parser and validator recurse, so that text without bounds could
//! overflow the stack.

/// The deepest nesting of brackets.
const MAX_NESTING: usize = 64;

/// The most operators of one policy: a chain of them is as deep as it is long.
const MAX_OPERATORS: usize = 500;

/// The stack on which policies are loaded and taken apart. Measured without optimisation, a bracket takes up to 64 KiB
/// and an operator 20 KiB: the two bounds together need 14 MiB.
const STACK: usize = 32 << 20;

/// Runs something with stack enough for every policy within the bounds.
pub(crate) fn with_stack<T>(run: impl FnOnce() -> T) -> T {
    stacker::grow(STACK, run)
}

/// The first place where a file exceeds the bounds, and what to say of it.
pub(crate) fn exceeded(text: &str) -> Option<(usize, String)> {
    let (mut nesting, mut operators) = (0_usize, 0_usize);
    let mut last = ' ';
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let mut escaped = false;
                // To the end of the text where the quote is not closed, which Cedar will tell.
                let _ = chars.find(|(_, c)| {
                    let ends = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    ends
                });
            }
            '/' if last == '/' => {
                let _ = chars.find(|(_, c)| matches!(c, '\n' | '\r'));
            }
            '(' | '[' | '{' => nesting += 1,
            ')' | ']' | '}' => nesting = nesting.saturating_sub(1),
            ';' => (nesting, operators) = (0, 0),
            // `f` ends `if`; other words with it count as well, of which there are few.
            '&' | '|' | '+' | '-' | '*' | '!' | '.' | '<' | '>' | '=' | 'f' => operators += usize::from(last != c),
            _ => {}
        }
        // `!!` and `--` are two each, unlike `&&`.
        operators += usize::from(last == c && matches!(c, '!' | '-'));
        last = c;
        if nesting > MAX_NESTING {
            return Some((at, format!("brackets are nested more than {MAX_NESTING} deep")));
        }
        if operators > MAX_OPERATORS {
            return Some((at, format!("a policy has more than {MAX_OPERATORS} operators")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::Policies;

    fn check(condition: &str, part: Option<&str>) {
        let text = format!("@id(\"a\") permit(principal, action, resource) when {{ {condition} }};");
        match (Policies::load(&[("a.cedar", &text)]), part) {
            (Ok(_), None) => {}
            (Err(problems), Some(part)) => assert!(problems[0].what.contains(part), "{}", problems[0]),
            (found, _) => panic!("{}: {:?}", condition.chars().take(40).collect::<String>(), found.err()),
        }
    }

    #[test]
    fn just_within_and_beyond() {
        let brackets = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
        check(&brackets(63), None);
        check(&brackets(64), Some("nested"));
        check(&brackets(10_000), Some("nested"));
        let nots = |n: usize| format!("{}true{}", "!(".repeat(n), ")".repeat(n));
        check(&nots(63), None);
        let chain = |n: usize| vec!["true"; n].join(" && ");
        check(&chain(501), None);
        check(&chain(502), Some("operators"));
        let ifs = |n: usize| format!("{}true", "if context.grant.read_only then true else ".repeat(n));
        check(&ifs(150), None);
        check(&ifs(20_000), Some("operators"));
        check(&format!("1 {} > 2", "+ 1 ".repeat(499)), None);
        check(&format!("1 {} > 2", "+ 1 ".repeat(20_000)), Some("operators"));
        check(&format!("{}1 < 2", "-".repeat(20_000)), Some("operators"));
        check(&format!("{}true", "!".repeat(20_000)), Some("operators"));
        // The deepest that both bounds let through together.
        check(&format!("({}true{})", "(true && ".repeat(62), ")".repeat(62)), None);
        // A long list is not deep, and what stands in strings and comments is nothing.
        let list: Vec<_> = (0..3000).map(|n| format!("\"v.{n}(\"")).collect();
        check(&format!("[{}].contains(context.grant.id) // ((((", list.join(",")).replace("// ((((", ""), None);
        check(&format!("true // {}\n", "((&&".repeat(1000)), None);
        check(&format!("context.grant.id == \"\\\"{}\"", "((&&".repeat(1000)), None);
    }

    #[test]
    fn bounds_are_of_each_policy() {
        let one = |n| {
            format!(
                "@id(\"p{n}\") permit(principal, action, resource) when {{ {} }};\n",
                vec!["true"; 300].join(" && ")
            )
        };
        let text: String = (0..5).map(one).collect();
        Policies::load(&[("a.cedar", text)]).unwrap();
    }

    /// Taking apart and evaluating happens on ordinary stacks.
    #[test]
    fn the_deepest_can_be_explained() {
        let text = format!(
            "@id(\"a\") permit(principal, action, resource) when {{ {} && false }};",
            vec!["true"; 490].join(" && ")
        );
        let policies = Policies::load(&[("a.cedar", text)]).unwrap();
        let subject = crate::Subject {
            principal: crate::Principal { kind: crate::PrincipalKind::Agent, name: "ci".into(), groups: [].into() },
            connection: crate::Connection { name: "demo".into(), tags: [].into(), freeze: false },
            grant: crate::Grant::default(),
        };
        let moment = crate::Moment {
            now: postern_types::time::Micros(0),
            offset: 0,
            client: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let facts =
            crate::Facts { subject, moment, statement: crate::facts::StatementFacts::default(), accesses: vec![] };
        assert_eq!(policies.explain_again(facts).accesses[0].near[0].unmet, ["false"]);
    }
}
