//! Names that SQL takes: which need quotes, and what a topic is called as a relation.

use std::collections::HashSet;

use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::Expr;

/// The name as it has to be written: as it is, or in double quotes.
///
/// Unquoted names fold to lower case, and whether a word is a keyword depends on where it stands. So the parser is
/// asked about the places where a column or table is named, instead of a list that the next version outdates.
pub(super) fn identifier(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The text as a string literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn is_plain(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    starts_well
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
        && is_column_in_ddl(name)
        && matches!(DFParser::parse_sql_into_expr(name), Ok(named) if matches!(&named.expr, Expr::Identifier(found) if found.value == name))
        && DFParser::parse_sql(&format!(
            "SELECT {name} {name}, t.{name}, count({name}) AS {name} FROM {name} AS t, {name} WHERE {name} = 1 GROUP BY {name} ORDER BY {name}"
        ))
        .is_ok()
}

fn is_column_in_ddl(name: &str) -> bool {
    let ddl =
        format!("CREATE EXTERNAL TABLE {name} ({name} VARCHAR, PRIMARY KEY ({name})) STORED AS KAFKA LOCATION 't'");
    DFParser::parse_sql(&ddl).is_ok_and(|statements| {
        statements.iter().all(|statement| {
            matches!(statement, Statement::CreateExternalTable(table)
                if table.columns.len() == 1 && table.columns[0].name.value == name && table.constraints.len() == 1)
        })
    })
}

/// Hands out names of relations and views, each once.
#[derive(Debug, Default)]
pub(super) struct TakenNames {
    taken: HashSet<String>,
}

impl TakenNames {
    /// A name for the relation over `topic` that needs no quotes: `Shop.Orders-v2` → `shop_orders_v2`.
    pub(super) fn of_topic(&mut self, topic: &str) -> String {
        let parts: Vec<_> =
            topic.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let name = parts.join("_").to_ascii_lowercase();
        let name = if is_plain(&name) { name } else { format!("topic_{name}") };
        self.unique(name.trim_end_matches('_'))
    }

    /// `wanted`, or with a number after it where that is taken.
    pub(super) fn unique(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyday_names_stand_without_quotes() {
        for name in [
            "id", "name", "type_1", "_x", "action", "status", "number", "value", "total", "lat", "speed", "email",
            "type",
        ] {
            assert_eq!(identifier(name), name);
        }
    }

    #[test]
    fn what_the_parser_would_misread_is_quoted() {
        for name in [
            "Id",
            "user",
            "order",
            "group",
            "select",
            "from",
            "primary",
            "check",
            "interval",
            "two words",
            "1st",
            "né",
            "a-b",
            "null",
            "true",
        ] {
            assert_eq!(identifier(name), format!("\"{name}\""));
        }
        assert_eq!(identifier("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn topics_get_names_of_their_own() {
        let mut names = TakenNames::default();
        let given: Vec<_> =
            ["orders", "Orders", "shop.orders-v2", "shop_orders_v2", "order", "2026", "..", "__consumer_offsets"]
                .iter()
                .map(|topic| names.of_topic(topic))
                .collect();
        assert_eq!(
            given,
            [
                "orders",
                "orders_2",
                "shop_orders_v2",
                "shop_orders_v2_2",
                "topic_order",
                "topic_2026",
                "topic",
                "consumer_offsets"
            ]
        );
    }
}
