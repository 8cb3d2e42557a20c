//! Random queries, run past Postern and through it: what is open is the same to the byte, what is secret is never the truth,
//! what PostgreSQL rejects is rejected, and what is refused uses a secret where it may be refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    leaks::{
        Leaks, Secrets,
        forms::Form,
        random::{Maker, Numbers, Query},
    },
    raw::{Message, Raw},
};

/// So many queries, unless `RANDOM_QUERIES` says otherwise.
const QUERIES: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_show_what_is_open_and_nothing_else() {
    let of_env = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let count = of_env("RANDOM_QUERIES").map_or(QUERIES, |count| usize::try_from(count).unwrap());
    let seed = of_env("RANDOM_SEED").unwrap_or(1);
    let leaks = Leaks::start(Secrets::These).await;
    let mut direct = leaks.direct().await;
    let mut through = leaks.raw(&leaks.dev.grant("read", "1h")).await;
    let (mut numbers, mut wrong) = (Numbers::new(seed), Vec::new());
    let mut seen = Seen::default();
    for at in 0..count {
        let query = Maker::new(&mut numbers).query();
        let form = if at % 2 == 0 { Form::Simple } else { Form::Binary };
        if let Err(why) = same(&mut direct, &mut through, form, &query, &mut seen).await {
            wrong.push(format!("{why}: {}", query.sql));
        }
    }
    eprintln!("seed {seed}, {count} queries: {seen:?}");
    assert!(wrong.is_empty(), "{} wrong, seed {seed}:\n{}", wrong.len(), wrong.join("\n"));
    // The test tests something.
    let some = count / 50;
    assert!(seen.rejected > some && seen.refused > some && seen.masked > count / 2, "{seen:?}");
}

/// What has been seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// Queries that PostgreSQL rejects.
    rejected: usize,
    /// Queries that are refused.
    refused: usize,
    /// Values that are masked.
    masked: usize,
    /// Values that are open.
    open: usize,
}

async fn same(direct: &mut Raw, through: &mut Raw, form: Form, query: &Query, seen: &mut Seen) -> Result<(), String> {
    let (truth, told) = (form.run(direct, &query.sql).await, form.run(through, &query.sql).await);
    let error = |messages: &[Message]| messages.iter().find(|message| message.tag == b'E').cloned();
    match (error(&truth), error(&told)) {
        (Some(_), Some(_)) => {
            seen.rejected += 1;
            return Ok(());
        }
        (Some(error), None) => return Err(format!("PostgreSQL rejects with {:?}, and it runs", error.field(b'M'))),
        (None, Some(error)) => {
            let text = error.field(b'M').unwrap();
            if query.risky && text.contains("masked") {
                seen.refused += 1;
                return Ok(());
            }
            return Err(format!("refused though nothing stands in its way: {text}"));
        }
        (None, None) => {}
    }
    let of = |messages: &[Message], tag| messages.iter().filter(|one| one.tag == tag).cloned().collect::<Vec<_>>();
    if of(&truth, b'T') != of(&told, b'T') {
        return Err("its rows are described otherwise".to_owned());
    }
    let (truth, told) = (of(&truth, b'D'), of(&told, b'D'));
    if truth.len() != told.len() {
        return Err(format!("{} rows, not {}", told.len(), truth.len()));
    }
    for (truth, told) in truth.iter().zip(&told) {
        for ((truth, told), secret) in truth.values().iter().zip(told.values()).zip(&query.secret) {
            match (secret, truth) {
                (false, _) if *truth != told => return Err(format!("{told:?}, not {truth:?}, which is open")),
                (true, Some(_)) if *truth == told => return Err(format!("{truth:?} is shown")),
                (true, _) => seen.masked += 1,
                (false, _) => seen.open += 1,
            }
        }
    }
    Ok(())
}
