//! The functions of SQL by name. None is offered because of how its name begins: each has been looked at in SQLite's
//! source, ends in a time that grows with its arguments and not with their product, or is replaced by one that does.

/// The functions that plugins may call, sorted. Everything else, such as `load_extension`, is denied.
pub(super) const FUNCTIONS: &[&str] = &[
    "->",
    "->>",
    "abs",
    "avg",
    "changes",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "dense_rank",
    "first_value",
    "format",
    "glob",
    "group_concat",
    "hex",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_patch",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_array",
    "jsonb_extract",
    "jsonb_group_array",
    "jsonb_group_object",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_patch",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "julianday",
    "lag",
    "last_insert_rowid",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "lower",
    "ltrim",
    "max",
    "min",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "printf",
    "quote",
    "random",
    "randomblob",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "time",
    "timediff",
    "total",
    "total_changes",
    "trim",
    "typeof",
    "unhex",
    "unicode",
    "unixepoch",
    "unlikely",
    "upper",
    "zeroblob",
];

/// Functions in the shape of a table that plugins may read.
pub(super) const TABLES: &[&str] = &["json_each", "json_tree", "jsonb_each", "jsonb_tree"];

/// What SQLite has beside them, and why it is not offered: full-text search and R-trees need virtual tables, the rest tells
/// of the library, or reaches out of it. Only a test reads this: what a newer SQLite brings must be looked at.
#[cfg(test)]
pub(super) const DENIED: &[&str] = &[
    "bm25",
    "fts3_tokenizer",
    "fts5",
    "fts5_get_locale",
    "fts5_insttoken",
    "fts5_locale",
    "fts5_source_id",
    "highlight",
    "load_extension",
    "match",
    "matchinfo",
    "offsets",
    "optimize",
    "rtreecheck",
    "rtreedepth",
    "rtreenode",
    "snippet",
    "soundex",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_log",
    "sqlite_source_id",
    "sqlite_version",
    "subtype",
    "unistr",
    "unistr_quote",
];

/// Those of [`FUNCTIONS`] that are quick over any value that fits a store.
pub(super) const QUICK_FUNCTIONS: &[&str] = &[
    "abs",
    "coalesce",
    "if",
    "ifnull",
    "iif",
    "length",
    "likelihood",
    "likely",
    "lower",
    "max",
    "min",
    "nullif",
    "sum",
    "total",
    "typeof",
    "unixepoch",
    "unlikely",
    "upper",
];

/// Whether plugins may call the function of this name.
pub(super) fn is_offered(name: &str) -> bool {
    FUNCTIONS.binary_search(&name.to_ascii_lowercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, QUICK_FUNCTIONS};

    #[test]
    fn the_function_list_is_sorted_for_the_search() {
        assert!(FUNCTIONS.is_sorted());
        assert!(QUICK_FUNCTIONS.iter().all(|name| FUNCTIONS.contains(name)));
    }
}
