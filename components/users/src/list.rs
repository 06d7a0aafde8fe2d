//! Pages of accounts: sorted, filtered, searched.

use arcana_identity::account::Column;
use arcana_identity::{Account, Role, STORE, Status, account_columns, profile};
use arcana_sdk::database::{ToValue, Value};
use arcana_sdk::{Result, Validation};

use crate::service::{SortOrder, UserPage};

const DEFAULT_SIZE: u32 = 20;
const MAX_SIZE: u32 = 100;
const SEARCH_MAX: usize = 128;

/// What a page may be sorted by, and the SQL for it. Columns that may be empty sort their empty rows last on every
/// database.
const SORTS: [(&str, &str, bool); 8] = [
    ("created_at", "u.created_at", false),
    ("updated_at", "u.updated_at", false),
    ("email", "u.email_key", false),
    ("username", "u.username_key", true),
    ("name", "u.name", true),
    ("role", "u.role", false),
    ("status", "u.status", false),
    ("last_login_at", "u.last_login_at", true),
];

pub(crate) fn page(
    page: Option<u32>,
    size: Option<u32>,
    sort: Option<&str>,
    order: Option<SortOrder>,
    role: Option<Role>,
    status: Option<Status>,
    search: Option<&str>,
) -> Result<UserPage> {
    let mut errors = Validation::new();
    let (page, size) = (page.unwrap_or(0), size.unwrap_or(DEFAULT_SIZE));
    errors.check(size > 0, "size", "TOO_SMALL", "a page has at least 1 account");
    errors.check(size <= MAX_SIZE, "size", "TOO_LARGE", "a page has at most 100 accounts");
    let order_by = order_by(sort.unwrap_or("created_at"), order.unwrap_or(SortOrder::Asc));
    if order_by.is_none() {
        let names: Vec<_> = SORTS.iter().map(|(name, ..)| *name).collect();
        errors.add("sort", "INVALID_VALUE", format!("one of {}", names.join(", ")));
    }
    let search = search.map(profile::key).filter(|text| !text.is_empty());
    let length = search.as_ref().map_or(0, |text| text.chars().count());
    errors.check(length <= SEARCH_MAX, "search", "TOO_LONG", "at most 128 characters");
    errors.finish()?;

    let (filter, mut values) = filter(role, status, search.as_deref());
    let count = format!("SELECT COUNT(*) FROM users u{filter}");
    let (total_elements,): (u64,) = STORE.query_one(&count, &values)?;
    let total_pages = u32::try_from(total_elements.div_ceil(u64::from(size).max(1))).unwrap_or(u32::MAX);
    let users = if page < total_pages {
        values.push(size.to_value());
        values.push(Value::Int64(i64::from(page) * i64::from(size)));
        let select = format!(
            "SELECT {} FROM users u{filter} ORDER BY {} LIMIT ?{} OFFSET ?{}",
            account_columns!(),
            order_by.unwrap_or_default(),
            values.len() - 1,
            values.len()
        );
        STORE.query_all::<Account>(&select, &values)?.into_iter().map(Into::into).collect()
    } else {
        Vec::new()
    };
    Ok(UserPage { users, page, size, total_elements, total_pages })
}

/// The id breaks ties, so that no account is on two pages or on none.
fn order_by(sort: &str, order: SortOrder) -> Option<String> {
    let (_, column, nullable) = SORTS.iter().find(|(name, ..)| *name == sort)?;
    let direction = match order {
        SortOrder::Asc => "ASC",
        SortOrder::Desc => "DESC",
    };
    let empty_last = if *nullable { format!("{column} IS NULL, ") } else { String::new() };
    Some(format!("{empty_last}{column} {direction}, u.id {direction}"))
}

fn filter(role: Option<Role>, status: Option<Status>, search: Option<&str>) -> (String, Vec<Value>) {
    let (mut sql, mut values) = (String::new(), Vec::new());
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(if values.len() == 1 { " WHERE " } else { " AND " });
        sql.push_str(&condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(role) = role {
        add("u.role = ?", Column(role).to_value());
    }
    if let Some(status) = status {
        add("u.status = ?", Column(status).to_value());
    }
    if let Some(text) = search {
        add("u.search_key LIKE ? ESCAPE '!'", Value::Text(format!("%{}%", escape_like(text))));
    }
    (sql, values)
}

/// `!` and not the backslash, which string literals of some databases take for an escape of their own.
fn escape_like(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            out.push('!');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_numbered_parameters() {
        let (sql, values) = filter(Some(Role::Admin), None, Some("50%_off!"));
        assert_eq!(sql, " WHERE u.role = ?1 AND u.search_key LIKE ?2 ESCAPE '!'");
        assert_eq!(values, [Value::Int64(2), Value::Text("%50!%!_off!!%".into())]);
        assert_eq!(filter(None, None, None), (String::new(), Vec::new()));
    }

    #[test]
    fn only_listed_columns_are_sorted_by() {
        assert_eq!(order_by("email", SortOrder::Desc).as_deref(), Some("u.email_key DESC, u.id DESC"));
        assert_eq!(order_by("name", SortOrder::Asc).as_deref(), Some("u.name IS NULL, u.name ASC, u.id ASC"));
        assert_eq!(order_by("password_hash", SortOrder::Asc), None);
        assert_eq!(order_by("id; DROP TABLE users", SortOrder::Asc), None);
    }
}
