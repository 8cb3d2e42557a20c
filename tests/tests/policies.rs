//! Policies and freezes, from the admin's file to the running session.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    dev::Dev,
    shop::{READERS, refusal, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn policies_decide_what_readers_read() {
    let dev = Dev::start(&[]);
    let admin = dev.admin();
    let reader = client::connect(&dev.grant("read", "30m").url).await;
    let writer = client::connect(&dev.grant("write", "30m").url).await;
    assert_eq!(refusal(&reader, "select count(*) from payments").await, None);

    // What is wrong is told with its place, and nothing is applied.
    let folder = dev.data();
    let bad = folder.join("bad.cedar");
    std::fs::write(&bad, READERS.replace("Action::\"read\", resource ==", "Action::\"raed\", resource ==")).unwrap();
    let done = admin.run(&["apply", bad.to_str().unwrap()]);
    let told = format!("{}{}", done.stdout, done.stderr);
    assert!(done.code != 0 && told.contains("bad.cedar:8") && told.contains("raed"), "{done:#?}");
    assert_eq!(refusal(&reader, "select count(*) from payments").await, None);

    // From then on each session obeys.
    let file = folder.join("agents.cedar");
    std::fs::write(&file, READERS).unwrap();
    let _ = admin.run(&["apply", file.to_str().unwrap()]).ok();
    let told = until(&reader, "select count(*) from payments", true).await;
    for word in ["42501", "payments are not for agents", "no-payments", "ask finance"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(refusal(&reader, "select count(*) from orders").await, None, "its twin is allowed");
    assert!(refusal(&reader, "select 1 from orders join payments on order_id = orders.id").await.is_some());
    assert!(refusal(&reader, "delete from orders").await.unwrap().contains("42501"));
    // It waits for people; nobody answers.
    let terms = folder.join("terms.yaml");
    std::fs::write(&terms, "kind: Connection\nname: demo\nreviews: { hold: 1s }\n").unwrap();
    let _ = admin.run(&["apply", "--merge", terms.to_str().unwrap()]).ok();
    let told = refusal(&reader, "select count(*) from order_items").await.unwrap();
    assert!(told.contains("57014") && told.contains("1 of dba"), "{told}");
    // Other access roles obey, too; nobody is sent away for it.
    let told = refusal(&writer, "update orders set id = id where id = 1").await.unwrap();
    assert!(told.contains("42501") && told.contains("update on public.orders"), "{told}");
    assert_eq!(refusal(&writer, "select count(*) from orders").await, None);

    // With no file left nothing is permitted.
    let _ = admin.run(&["policy", "remove", "agents.cedar"]).ok();
    until(&reader, "select count(*) from orders", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_is_seen_and_outlasts_a_session() {
    let dev = Dev::start(&[]);
    let admin = dev.admin();
    let write = dev.grant("write", "30m").url;
    let change = "update products set stock = stock where id = 1";
    let writer = client::connect(&write).await;
    let _ = admin.run(&["freeze", "demo", "--reason", "quarter's end"]).ok();
    assert!(until(&writer, change, true).await.contains("postern:freeze"));
    let later = client::connect(&write).await;
    assert!(refusal(&later, change).await.unwrap().contains("42501"), "a new session is frozen as well");
    assert_eq!(refusal(&later, "select count(*) from products").await, None);
    let listed = admin.run(&["connections", "--json"]).ok();
    assert!(listed.contains("quarter's end"), "{listed}");
    let _ = admin.run(&["freeze", "demo", "--off"]).ok();
    until(&writer, change, false).await;
}
