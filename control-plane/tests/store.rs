//! The same scenarios on SQLite and on PostgreSQL, each on a database of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod scenarios;
mod support;

/// Runs with more stack than a test has. Without optimisation the scenarios' futures take much of it, and where little is
/// left policies are not evaluated.
fn on_a_large_stack<F: Future<Output = ()>>(scenarios: impl FnOnce() -> F + Send) {
    const STACK: usize = 16 << 20;
    let run = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().thread_stack_size(STACK).build().unwrap().block_on(scenarios());
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).unwrap();
        thread.join().unwrap();
    });
}

/// Runs each scenario on both stores.
macro_rules! on_both {
    ($($module:ident::$scenario:ident),* $(,)?) => {
        #[test]
        fn on_sqlite() {
            on_a_large_stack(|| async { $({
                println!("{}", stringify!($module::$scenario));
                let (store, _folder) = support::sqlite().await;
                // On the heap: all of them together are more than a test's stack.
                Box::pin(scenarios::$module::$scenario(&store)).await;
                store.close().await;
            })* });
        }

        #[test]
        fn on_postgres() {
            on_a_large_stack(|| async { let cluster = support::postgres::Cluster::start(); $({
                println!("{}", stringify!($module::$scenario));
                let store = cluster.store().await;
                // On the heap: all of them together are more than a test's stack.
                Box::pin(scenarios::$module::$scenario(&store)).await;
                store.close().await;
            })* });
        }
    };
}

on_both! {
    access::a_request_becomes_a_grant,
    access::rules_approve_at_once,
    access::nobody_reviews_what_is_their_own,
    access::reviewers_count_once_and_at_the_same_time,
    access::denied_withdrawn_expired,
    access::fields_are_checked,
    access::durations_are_shortened_never_lengthened,
    requests::several_groups_agree,
    requests::whoever_left_counts_no_more,
    requests::what_is_said_stays_with_it,
    requests::tables_are_named_and_narrowed,
    requests::an_open_grant_is_the_answer,
    requests::two_that_ask_at_once_get_one_grant,
    requests::a_grant_ends_later_by_a_decision,
    requests::standing_approvals_hold_until_they_do_not,
    requests::standing_approvals_have_times,
    requests::break_glass_is_reviewed_by_somebody_else,
    requests::grants_are_bound_to_addresses,
    ways::what_is_foreseen_comes,
    ways::who_reaches_what,
    ways::many_reach_it,
    stops::nothing_goes_on_and_nothing_begins,
    stops::whoever_may,
    stops::all_grants_of_a_connection_or_a_role,
    grants::secrets_and_logins,
    grants::expiry_and_revocation,
    grants::others_see_nothing,
    identity::tokens_come_and_go,
    identity::founders_are_made_once,
    identity::browsers_sessions_end,
    reviews::nobody_answers_what_is_their_own,
    reviews::thresholds_are_exact,
    reviews::the_strictest_of_what_is_approved_holds,
    reviews::what_a_statement_cannot_be_held_to_is_refused,
    reviews::time_ends_them,
    reviews::taken_back_or_disabled,
    reviews::of_many_claims_one_succeeds,
    scim::its_token_is_good_for_it_alone,
    scim::who_is_deactivated_has_nothing_left,
    scim::what_is_not_its_own_stays_so,
    scim::groups_follow_the_directory,
    scim::documents_and_directories_agree,
    scim::pages_and_filters,
    scim::people_sign_in_where_the_directory_is,
    documents::plan_shows_and_changes_nothing,
    documents::all_or_nothing,
    documents::merging_and_replacing,
    documents::changes_end_what_they_invalidate,
    documents::groups_and_owners,
    policies::files_come_change_and_go,
    policies::files_are_checked_together_before_anything,
    policies::what_names_policies_is_checked,
    policies::two_at_the_same_time_are_checked_one_after_the_other,
    policies::freezes_are_in_force_until_lifted,
    policies::only_admins_change_what_holds_for_all,
    notifications::who_is_told_of_what,
    notifications::each_message_has_one_owner_at_a_time,
    notifications::given_up_and_tried_again,
    notifications::documents_are_checked,
    credentials::set_listed_rotated_removed,
    credentials::each_opens_in_its_own_row_only,
    credentials::fields_and_rights_are_checked,
    audit::segments_are_stored_once,
    audit::exports_are_of_everything,
    audit::connectors_speak_of_their_own_sessions,
    audit::what_connectors_do_by_themselves_is_found,
    audit::what_one_search_finds_is_bounded,
    audit::a_change_and_its_event_are_one,
    audit::statements_are_joined_across_segments,
    audit::filters,
    audit::everybody_sees_their_own,
    audit::decisions_can_be_made_again,
    overview::what_is_asked_answered_and_run_is_counted,
    overview::it_is_for_those_who_read_the_whole_audit,
}
