//! What the functions that came with the server do, as far as it matters here.
//!
//! The rule is a list of what is allowed: a VOLATILE function that is not known to be harmless is taken to do something. A
//! few STABLE and IMMUTABLE ones do something all the same; they are listed too. Reviewed against pg_proc of 13 to 18.

use crate::{
    catalog::Routine,
    facts::{Standing, Volatility},
};

/// VOLATILE functions that change nothing that outlives the statement, wait for nobody and stay inside the database.
const HARMLESS_VOLATILE: &[&str] = &[
    "amvalidate",
    "bernoulli",
    "clock_timestamp",
    "currval",
    "gen_random_uuid",
    "lastval",
    "pg_available_wal_summaries",
    "pg_blocking_pids",
    "pg_collation_actual_version",
    "pg_column_toast_chunk_id",
    "pg_control_checkpoint",
    "pg_control_init",
    "pg_control_recovery",
    "pg_control_system",
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_database_collation_actual_version",
    "pg_database_size",
    "pg_get_aios",
    "pg_get_multixact_members",
    "pg_get_multixact_range",
    "pg_get_multixact_stats",
    "pg_get_publication_tables",
    "pg_get_sequence_data",
    "pg_get_wal_replay_pause_state",
    "pg_get_wal_resource_managers",
    "pg_get_wal_summarizer_state",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_isolation_test_session_is_blocked",
    "pg_jit_available",
    "pg_last_committed_xact",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_lock_status",
    "pg_notification_queue_usage",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "pg_prepared_xact",
    "pg_relation_size",
    "pg_replication_origin_progress",
    "pg_replication_origin_session_is_setup",
    "pg_replication_origin_session_progress",
    "pg_safe_snapshot_blocking_pids",
    "pg_sequence_last_value",
    "pg_show_replication_origin_status",
    "pg_stat_clear_snapshot",
    "pg_stat_get_recovery_prefetch",
    "pg_stat_get_xact_blocks_fetched",
    "pg_stat_get_xact_blocks_hit",
    "pg_stat_get_xact_function_calls",
    "pg_stat_get_xact_function_self_time",
    "pg_stat_get_xact_function_total_time",
    "pg_stat_get_xact_numscans",
    "pg_stat_get_xact_tuples_deleted",
    "pg_stat_get_xact_tuples_fetched",
    "pg_stat_get_xact_tuples_hot_updated",
    "pg_stat_get_xact_tuples_inserted",
    "pg_stat_get_xact_tuples_newpage_updated",
    "pg_stat_get_xact_tuples_returned",
    "pg_stat_get_xact_tuples_updated",
    "pg_stat_have_stats",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "pg_wal_summary_contents",
    "pg_xact_commit_timestamp",
    "pg_xact_commit_timestamp_origin",
    "pg_xact_status",
    "random",
    "random_normal",
    // It changes the session's own random numbers and nothing else.
    "setseed",
    "system",
    "timeofday",
    "txid_status",
    "uuidv4",
    "uuidv7",
];

/// Functions that promise to be STABLE or IMMUTABLE and yet do something: they run text or read relations that the
/// statement does not name, assign a transaction id, or reach files, settings and large objects.
const EFFECTFUL_ANYWAY: &[&str] = &[
    // Input functions, which run the checks of whichever domain their argument names.
    "array_in",
    "array_recv",
    "domain_in",
    "domain_recv",
    "multirange_in",
    "multirange_recv",
    "pg_input_error_info",
    "pg_input_is_valid",
    "range_in",
    "range_recv",
    "record_in",
    "record_recv",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "database_to_xmlschema",
    "lo_get",
    "pg_config",
    "pg_current_xact_id",
    "pg_get_logical_snapshot_info",
    "pg_get_logical_snapshot_meta",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_show_all_file_settings",
    "pg_stat_file",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "schema_to_xmlschema",
    "set_config",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "table_to_xmlschema",
    "txid_current",
];

/// Names that are effectful by their beginning, whatever they promise.
const EFFECTFUL_PREFIXES: &[&str] = &[
    "binary_upgrade_",
    "dblink",
    "lo_",
    "pg_advisory_",
    "pg_clear_",
    "pg_logical_",
    "pg_ls_",
    "pg_restore_",
    "pg_stat_reset",
    "pg_sync_",
    "pg_try_advisory_",
];

/// What is known of a built-in function.
pub(crate) fn standing(routine: &Routine) -> Standing {
    let name = &*routine.name.name;
    let effectful = EFFECTFUL_ANYWAY.contains(&name)
        || EFFECTFUL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || (routine.volatility == Volatility::Volatile && HARMLESS_VOLATILE.binary_search(&name).is_err());
    if effectful { Standing::Effectful } else { Standing::Harmless }
}

/// Functions of sequences, whose first argument names the one that they change.
pub(crate) fn changes_sequence(name: &str) -> bool {
    matches!(name, "nextval" | "setval")
}

/// Functions that act on the server, its files or other sessions, and so are `admin` besides being calls.
pub(crate) fn is_administration(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "pg_backup_start",
        "pg_backup_stop",
        "pg_cancel_backend",
        "pg_create_restore_point",
        "pg_current_logfile",
        "pg_hba_file_rules",
        "pg_ident_file_mappings",
        "pg_import_system_collations",
        "pg_log_backend_memory_contexts",
        "pg_promote",
        "pg_read_binary_file",
        "pg_read_file",
        "pg_read_file_old",
        "pg_reload_conf",
        "pg_rotate_logfile",
        "pg_rotate_logfile_old",
        "pg_show_all_file_settings",
        "pg_start_backup",
        "pg_stat_file",
        "pg_stop_backup",
        "pg_switch_wal",
        "pg_terminate_backend",
        "pg_wal_replay_pause",
        "pg_wal_replay_resume",
        "lo_export",
        "lo_import",
    ];
    const PREFIXES: &[&str] = &[
        "binary_upgrade_",
        "dblink",
        "pg_copy_logical_replication_",
        "pg_copy_physical_replication_",
        "pg_create_logical_replication_",
        "pg_create_physical_replication_",
        "pg_drop_replication_",
        "pg_logical_",
        "pg_ls_",
        "pg_replication_origin_",
        "pg_replication_slot_",
        "pg_stat_reset",
        "pg_sync_",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Functions that turn values of any type into JSON.
pub(crate) fn makes_json(name: &str) -> bool {
    const STARTS: &[&str] =
        &["json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg", "json_build", "jsonb_build"];
    matches!(name, "to_json" | "to_jsonb" | "row_to_json" | "array_to_json")
        || STARTS.iter().any(|start| name.starts_with(start))
}

/// Functions whose result cannot be relied on to leave the transaction as it was: they run text that we do not see.
pub(crate) fn runs_text(name: &str) -> bool {
    matches!(name, "ts_stat" | "ts_rewrite" | "cursor_to_xml" | "cursor_to_xmlschema")
        || (name.contains("_to_xml") && name != "xml_to_xml")
}

#[cfg(test)]
mod tests {
    use super::HARMLESS_VOLATILE;

    #[test]
    fn the_list_is_sorted_for_its_binary_search() {
        assert!(HARMLESS_VOLATILE.is_sorted());
    }
}
