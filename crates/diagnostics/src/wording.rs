//! DataFusion's messages rephrased for users: lower case at the start, and types as in SQL.

/// Without the sentence's capital; `SELECT` and `SUM(…)` keep theirs.
pub(crate) fn decapitalize(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(one), Some(two)) if one.is_uppercase() && two.is_lowercase() => one.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// What a user can do about an expression that cannot be executed, in place of the planner's own text for it.
pub(crate) fn without_planner_terms(text: &str) -> Option<&'static str> {
    let expr = text.trim_start().to_lowercase();
    let expr = expr.strip_prefix("physical plan does not support logical expression ")?;
    Some(if expr.starts_with("outerreferencecolumn") {
        "a subquery that refers to the query around it in this way cannot be planned (LATERAL with LIMIT, a comparison \
         other than = in a scalar subquery): write it as a join, with row_number() OVER (PARTITION BY …) <= n for a LIMIT"
    } else if expr.starts_with("insubquery") || expr.starts_with("exists") {
        "IN and EXISTS of a subquery cannot be planned in this place: write it as a join"
    } else if expr.starts_with("scalarsubquery") {
        "a scalar subquery cannot be planned in this place: write it as a join"
    } else {
        return None;
    })
}

/// Arrow's type names as SQL's, word by word.
pub fn sql_types(text: &str) -> String {
    const TYPES: [(&str, &str); 14] = [
        ("Utf8View", "VARCHAR"),
        ("LargeUtf8", "VARCHAR"),
        ("Utf8", "VARCHAR"),
        ("Int8", "TINYINT"),
        ("Int16", "SMALLINT"),
        ("Int32", "INT"),
        ("Int64", "BIGINT"),
        ("UInt64", "BIGINT UNSIGNED"),
        ("Float32", "REAL"),
        ("Float64", "DOUBLE"),
        ("Boolean", "BOOLEAN"),
        ("Date32", "DATE"),
        ("Timestamp", "TIMESTAMP"),
        ("Null", "NULL"),
    ];
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let sql = TYPES.iter().find(|(arrow, _)| *arrow == &rest[..word]).map_or(&rest[..word], |(_, sql)| sql);
        result.push_str(sql);
        let behind = rest[word..].find(char::is_alphanumeric).map_or(rest.len(), |at| word + at);
        result.push_str(&rest[word..behind]);
        rest = &rest[behind..];
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_loses_its_capital_and_a_name_does_not() {
        assert_eq!(decapitalize("Expected: a name"), "expected: a name");
        assert_eq!(decapitalize("SUM(x) is wrong"), "SUM(x) is wrong");
    }

    #[test]
    fn types_are_replaced_as_whole_words() {
        assert_eq!(sql_types("sum(Utf8, List(Int64), Int64s)"), "sum(VARCHAR, List(BIGINT), Int64s)");
    }
}
