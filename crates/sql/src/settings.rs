//! Settings: which change what names mean, which are for administrators, which any reader may change.

/// Settings that decide who the session is, or that take its protection away. Changing one is `admin`.
const ADMINISTRATIVE: &[&str] = &[
    "allow_in_place_tablespaces",
    "allow_system_table_mods",
    "createrole_self_grant",
    "dynamic_library_path",
    "extension_control_path",
    "ignore_system_indexes",
    "is_superuser",
    "jit_provider",
    "local_preload_libraries",
    "lo_compat_privileges",
    "role",
    "session_authorization",
    "session_preload_libraries",
    "session_replication_role",
    "zero_damaged_pages",
];

/// Settings that a reader may change: they change how its own results look or how long it waits, and nothing else.
const READERS: &[&str] = &[
    "application_name",
    "array_nulls",
    "backend_flush_after",
    "bytea_output",
    "client_connection_check_interval",
    "client_encoding",
    "client_min_messages",
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "datestyle",
    "default_statistics_target",
    "default_text_search_config",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "effective_cache_size",
    "effective_io_concurrency",
    "enable_async_append",
    "enable_bitmapscan",
    "enable_distinct_reordering",
    "enable_gathermerge",
    "enable_group_by_reordering",
    "enable_hashagg",
    "enable_hashjoin",
    "enable_incremental_sort",
    "enable_indexonlyscan",
    "enable_indexscan",
    "enable_material",
    "enable_memoize",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_parallel_append",
    "enable_parallel_hash",
    "enable_partition_pruning",
    "enable_partitionwise_aggregate",
    "enable_partitionwise_join",
    "enable_presorted_aggregate",
    "enable_self_join_elimination",
    "enable_seqscan",
    "enable_sort",
    "enable_tidscan",
    "extra_float_digits",
    "force_parallel_mode",
    "from_collapse_limit",
    "geqo",
    "geqo_effort",
    "geqo_generations",
    "geqo_pool_size",
    "geqo_seed",
    "geqo_selection_bias",
    "geqo_threshold",
    "gin_fuzzy_search_limit",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "jit_above_cost",
    "join_collapse_limit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "max_parallel_workers_per_gather",
    "min_parallel_index_scan_size",
    "min_parallel_table_scan_size",
    "parallel_leader_participation",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "plan_cache_mode",
    "quote_all_identifiers",
    "random_page_cost",
    "restrict_nonsystem_relation_kind",
    "search_path",
    "seq_page_cost",
    "session characteristics",
    "standard_conforming_strings",
    "backslash_quote",
    "escape_string_warning",
    "statement_timeout",
    "synchronize_seqscans",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "timezone",
    "timezone_abbreviations",
    "trace_notify",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_timeout",
    "transform_null_equals",
    "work_mem",
    "xmlbinary",
    "xmloption",
];

/// Whether only an administrator should change it.
pub(crate) fn is_administrative(name: &str) -> bool {
    ADMINISTRATIVE.contains(&name)
}

/// Whether a reader may change it to this value.
pub(crate) fn is_readers(name: &str, value: Option<&str>) -> bool {
    match name {
        // A reader may ask for what it has, not for more. The default may be anything.
        "transaction_read_only" | "default_transaction_read_only" => {
            value.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1"))
        }
        // pg_dump asks for errors in place of filtered rows. `on` filters, and is the default.
        "row_security" => value.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "on" | "off")),
        name => READERS.contains(&name),
    }
}

/// Whether names or literals may mean something else once it is changed.
pub(crate) fn changes_meaning(name: &str) -> bool {
    matches!(
        name,
        "*" | "search_path"
            | "role"
            | "session_authorization"
            | "standard_conforming_strings"
            | "backslash_quote"
            | "client_encoding"
    )
}
