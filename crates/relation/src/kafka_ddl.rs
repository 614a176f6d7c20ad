//! `STORED AS KAFKA`: what a declaration of a topic may say.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::{
    ColumnOption, Expr, Ident, PrimaryKeyConstraint, Spanned, TableConstraint, Value,
};
use tallgrass_decode::Decoder;
use tallgrass_diagnostics::{Diagnostic, did_you_mean, message_of};

use super::catalog::{KafkaRelation, METADATA_COLUMNS, TableKey, full_schema};
use super::declaration::{Declaration, normalized};
use super::deleted_when::DeletedWhen;
use super::epoch::mark;
use super::record_key::KeyColumn;

const DELETED_WHEN: &str = "deleted_when";

/// Every option that a topic may have.
const OPTIONS: [&str; 1] = [DELETED_WHEN];

/// The longest name that Kafka gives a topic.
const MAX_TOPIC_NAME: usize = 249;

/// Checks a declaration and makes the relation of it.
pub(super) fn relation(
    declaration: &Declaration<'_>,
    create: &CreateExternalTable,
) -> Result<KafkaRelation, Diagnostic> {
    let topic = topic(declaration, create)?;
    if create.columns.is_empty() {
        let message = format!(
            "relation '{}' declares no columns: `tallgrass init {topic}` samples the topic and writes them",
            create.name
        );
        return Err(declaration.fault_of(create.name.span(), message));
    }
    for (unused, clause) in
        [(create.table_partition_cols.is_empty(), "PARTITIONED"), (create.order_exprs.is_empty(), "ORDER")]
    {
        if !unused {
            let message = "PARTITIONED BY and WITH ORDER are for files: a topic has its own partitions and offsets";
            return Err(declaration.fault(declaration.word(clause), message));
        }
    }
    check_columns(declaration, create)?;
    let primary_key = primary_key(declaration, create)?;

    // The key is looked at above; NOT NULL on it would only reach the decoder as a promise that values do not keep.
    let mut plain = CreateExternalTable { constraints: Vec::new(), options: Vec::new(), ..create.clone() };
    for column in &mut plain.columns {
        column.options.clear();
    }
    let planned = declaration.plan(&plain)?;
    let declared: SchemaRef = Arc::clone(planned.schema.inner());
    check_types(declaration, create, &declared)?;
    let deleted_when = options(declaration, create, primary_key.is_some(), &declared)?;
    let key = match primary_key {
        None => None,
        Some(ident) => Some(TableKey { column: key_column(declaration, &ident, &declared)?, deleted_when }),
    };
    Ok(KafkaRelation {
        name: planned.name.table().to_owned(),
        topic: Arc::from(topic),
        schema: full_schema(&declared),
        declared: Arc::new(Schema::new(
            declared
                .fields()
                .iter()
                .zip(&create.columns)
                .map(|(field, column)| mark(field, &column.data_type))
                .collect::<Fields>(),
        )),
        key,
        span: declaration.span_of(create.name.span()),
    })
}

fn topic<'a>(declaration: &Declaration<'_>, create: &'a CreateExternalTable) -> Result<&'a str, Diagnostic> {
    let [topic] = create.locations.as_slice() else {
        return Err(declaration.fault(declaration.word("LOCATION"), "LOCATION of a KAFKA relation is one topic"));
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() || topic.len() > MAX_TOPIC_NAME || !topic.chars().all(legal) || topic == "." || topic == ".." {
        let message =
            format!("'{topic}' is not a name of a topic: letters, digits, '.', '_' and '-' (brokers go by --brokers)");
        return Err(declaration.fault(declaration.string(topic), message));
    }
    Ok(topic)
}

fn check_columns(declaration: &Declaration<'_>, create: &CreateExternalTable) -> Result<(), Diagnostic> {
    let mut names = HashSet::new();
    for column in &create.columns {
        let name = normalized(&column.name);
        let fault = |message: String| Err(declaration.fault_of(column.name.span, message));
        if METADATA_COLUMNS.contains(&name.as_str()) {
            return fault(format!("column '{name}' is every topic's own: take another name"));
        }
        if !names.insert(name.clone()) {
            return fault(format!("column '{name}' is declared twice"));
        }
        let keyed = column.options.iter().any(|option| matches!(option.option, ColumnOption::PrimaryKey(_)));
        for option in &column.options {
            match &option.option {
                ColumnOption::Null | ColumnOption::PrimaryKey(_) | ColumnOption::Comment(_) => {}
                ColumnOption::NotNull if keyed || is_key(create, &name) => {}
                ColumnOption::NotNull => {
                    return fault(format!(
                        "column '{name}': NOT NULL cannot be promised of records, a field may always be missing"
                    ));
                }
                other => return fault(format!("column '{name}': {other} has no meaning for a topic")),
            }
        }
    }
    Ok(())
}

fn is_key(create: &CreateExternalTable, name: &str) -> bool {
    create.constraints.iter().any(|constraint| match constraint {
        TableConstraint::PrimaryKey(key) => key.columns.iter().any(|column| match &column.column.expr {
            Expr::Identifier(ident) => normalized(ident) == name,
            _ => false,
        }),
        _ => false,
    })
}

/// The column of PRIMARY KEY, in either of its two places.
fn primary_key(declaration: &Declaration<'_>, create: &CreateExternalTable) -> Result<Option<Ident>, Diagnostic> {
    let mut keys: Vec<Ident> = Vec::new();
    for column in &create.columns {
        if column.options.iter().any(|option| matches!(option.option, ColumnOption::PrimaryKey(_))) {
            keys.push(column.name.clone());
        }
    }
    for constraint in &create.constraints {
        let TableConstraint::PrimaryKey(PrimaryKeyConstraint { columns, .. }) = constraint else {
            let message = format!("{constraint}: only PRIMARY KEY has a meaning for a topic");
            return Err(declaration.fault_of(constraint.span(), message));
        };
        for column in columns {
            match &column.column.expr {
                Expr::Identifier(ident) => keys.push(ident.clone()),
                nested => {
                    let message = format!("PRIMARY KEY ({nested}): the key is a whole column, not a part of one");
                    return Err(declaration.fault_of(nested.span(), message));
                }
            }
        }
    }
    match keys.as_slice() {
        [] => Ok(None),
        [key] => Ok(Some(key.clone())),
        [_, second, ..] => {
            let message = "PRIMARY KEY is one column: its value is the record key";
            Err(declaration.fault_of(second.span, message))
        }
    }
}

fn key_column(declaration: &Declaration<'_>, key: &Ident, declared: &Schema) -> Result<usize, Diagnostic> {
    let name = normalized(key);
    let Ok(column) = declared.index_of(&name) else {
        let known = declared.fields().iter().map(|field| field.name().as_str());
        let hint = did_you_mean(&name, known).unwrap_or_else(|| "declare it".to_owned());
        return Err(declaration.fault_of(key.span, format!("PRIMARY KEY names no column '{name}'")).with_hint(hint));
    };
    let data_type = declared.field(column).data_type();
    if KeyColumn::supports(data_type) {
        return Ok(column);
    }
    let message = format!(
        "PRIMARY KEY '{name}' is {}: its value is read from the record key, which is text, so use VARCHAR or an integer",
        if data_type.is_nested() { "nested".to_owned() } else { data_type.to_string() }
    );
    Err(declaration.fault_of(key.span, message))
}

fn check_types(
    declaration: &Declaration<'_>,
    create: &CreateExternalTable,
    declared: &SchemaRef,
) -> Result<(), Diagnostic> {
    for (field, column) in declared.fields().iter().zip(&create.columns) {
        if let Err(error) = Decoder::new(&Fields::from(vec![Arc::clone(field)]), &[0]) {
            return Err(declaration.fault_of(column.name.span, error.to_string()));
        }
    }
    Ok(())
}

fn options(
    declaration: &Declaration<'_>,
    create: &CreateExternalTable,
    keyed: bool,
    declared: &SchemaRef,
) -> Result<Option<DeletedWhen>, Diagnostic> {
    let mut deleted_when = None;
    for (key, value) in &create.options {
        let place = declaration.string(key);
        if !key.eq_ignore_ascii_case(DELETED_WHEN) {
            let hint = did_you_mean(key, OPTIONS).unwrap_or_else(|| format!("a topic has {}", OPTIONS.join(", ")));
            return Err(declaration.fault(place, format!("unknown option '{key}'")).with_hint(hint));
        }
        let (Value::SingleQuotedString(sql) | Value::DoubleQuotedString(sql)) = value else {
            return Err(declaration.fault(place, "deleted_when is a condition in quotes, as in 'action = ''logoff'''"));
        };
        if !keyed {
            let message = "deleted_when deletes rows of a table: declare PRIMARY KEY (column) with it";
            return Err(declaration.fault(place, message));
        }
        if deleted_when.is_some() {
            return Err(declaration.fault(place, "deleted_when is given twice"));
        }
        let condition = DeletedWhen::plan(declaration.state, sql, declared).map_err(|error| {
            declaration.fault(declaration.string(sql), format!("deleted_when: {}", message_of(&error)))
        })?;
        deleted_when = Some(condition);
    }
    Ok(deleted_when)
}
