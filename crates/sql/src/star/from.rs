//! What the FROM of one SELECT reads, and what `*` means over it.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::{Result, plan_datafusion_err};
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Ident, JoinConstraint, JoinOperator, ObjectName, SelectItem, SelectItemQualifiedWildcardKind,
    TableAlias, TableFactor, TableWithJoins, WildcardAdditionalOptions,
};
use tallgrass_relation::{KafkaRelation, METADATA_COLUMNS};

use super::{Stars, name, quoted_ident};

/// What the FROM of one SELECT reads.
#[derive(Default)]
pub(super) struct FromClause {
    pub inputs: Vec<Input>,
    /// Whether a join is NATURAL.
    pub natural: bool,
    /// What USING names.
    pub using: BTreeSet<String>,
}

/// A table, a subquery or a function in FROM.
pub(super) struct Input {
    /// How columns are qualified; empty where they cannot be.
    pub name: Vec<String>,
    /// Whether its alias renames columns.
    pub renamed: bool,
    pub relation: Option<Arc<KafkaRelation>>,
    /// The columns that are there, but not declared.
    pub kept: Vec<&'static str>,
    /// Whether a subquery of what is kept stands for it.
    pub narrowed: bool,
    /// Whether its columns are part of the result: not those of the other side of a semi join.
    pub visible: bool,
}

impl Input {
    pub(super) fn is_called(&self, qualifier: &[String]) -> bool {
        !self.name.is_empty() && self.name.ends_with(qualifier)
    }

    /// As in `t.*`. A subquery has one name.
    pub(super) fn qualifier(&self) -> ObjectName {
        let skipped = if self.narrowed { self.name.len().saturating_sub(1) } else { 0 };
        ObjectName::from(self.name.iter().skip(skipped).map(|part| quoted_ident(part)).collect::<Vec<_>>())
    }
}

impl FromClause {
    /// What `*` hides of an input: not what a USING names, which is a column of the join.
    fn hidden<'a>(&'a self, input: &'a Input) -> impl Iterator<Item = &'static str> + 'a {
        input.kept.iter().copied().filter(|column| !self.using.contains(*column))
    }

    pub(super) fn kept_twice(&self) -> Option<&'static str> {
        let visible = self.inputs.iter().filter(|input| input.visible);
        let mut kept: Vec<&str> = visible.flat_map(|input| self.hidden(input)).collect();
        kept.sort_unstable();
        kept.windows(2).find_map(|pair| match pair {
            [first, second] if first == second => Some(*first),
            _ => None,
        })
    }

    /// `*`, without what is hidden.
    pub(super) fn star(&self, mut options: WildcardAdditionalOptions) -> Result<Vec<SelectItem>> {
        let visible = || self.inputs.iter().filter(|input| input.visible);
        let Some(column) = self.kept_twice() else {
            let hidden: Vec<&str> = visible().flat_map(|input| self.hidden(input)).collect();
            exclude(&mut options, &hidden);
            return Ok(vec![SelectItem::Wildcard(options)]);
        };
        // The name would be ambiguous in one EXCLUDE.
        let plain = options.opt_exclude.is_none() && options.opt_except.is_none() && options.opt_replace.is_none();
        if !plain || !self.using.is_empty() || visible().any(|input| input.name.is_empty()) {
            return Err(plan_datafusion_err!(
                "{column} of two relations is read beside *, which is as declared: name the columns, or write t.* for each"
            ));
        }
        Ok(visible()
            .map(|input| {
                let mut options = options.clone();
                exclude(&mut options, &input.kept);
                let of = SelectItemQualifiedWildcardKind::ObjectName(input.qualifier());
                SelectItem::QualifiedWildcard(of, options)
            })
            .collect())
    }
}

impl Stars {
    /// What FROM reads, from left to right.
    pub(super) fn flatten(&self, tables: &TableWithJoins, alias: Option<&TableAlias>, from: &mut FromClause) {
        use JoinOperator::{Anti, LeftAnti, LeftSemi, RightAnti, RightSemi, Semi};
        let first = from.inputs.len();
        self.input(&tables.relation, alias, from);
        for join in &tables.joins {
            let right = from.inputs.len();
            self.input(&join.relation, alias, from);
            let hidden = match &join.join_operator {
                Semi(_) | Anti(_) | LeftSemi(_) | LeftAnti(_) => right..from.inputs.len(),
                RightSemi(_) | RightAnti(_) => first..right,
                _ => 0..0,
            };
            from.inputs.iter_mut().take(hidden.end).skip(hidden.start).for_each(|input| input.visible = false);
            match constraint(&join.join_operator) {
                Some(JoinConstraint::Natural) => from.natural = true,
                Some(JoinConstraint::Using(columns)) => {
                    from.using.extend(columns.iter().filter_map(|column| Some(name(column.0.last()?.as_ident()?))));
                }
                _ => {}
            }
        }
    }

    fn input(&self, factor: &TableFactor, alias_above: Option<&TableAlias>, from: &mut FromClause) {
        if let TableFactor::NestedJoin { table_with_joins, alias } = factor {
            return self.flatten(table_with_joins, alias_above.or(alias.as_ref()), from);
        }
        let (table, alias) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => (Some(name), alias),
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => (None, alias),
            _ => (None, &None),
        };
        let alias = alias_above.or(alias.as_ref());
        let renames = alias.map_or(0, |alias| alias.columns.len());
        // Who names all columns has made ordinary ones of them.
        let relation = table
            .and_then(|table| self.relation(table))
            .filter(|relation| renames <= relation.declared().fields().len());
        let name = match (alias, table) {
            (Some(alias), _) => vec![name(&alias.name)],
            (None, Some(table)) => table.0.iter().filter_map(|part| part.as_ident().map(name)).collect(),
            (None, None) => Vec::new(),
        };
        let kept = if relation.is_some() { METADATA_COLUMNS.to_vec() } else { Vec::new() };
        from.inputs.push(Input { name, renamed: renames > 0, relation, kept, narrowed: false, visible: true });
    }
}

fn constraint(join: &JoinOperator) -> Option<&JoinConstraint> {
    use JoinOperator as J;
    match join {
        J::Join(on)
        | J::Inner(on)
        | J::Left(on)
        | J::LeftOuter(on)
        | J::Right(on)
        | J::RightOuter(on)
        | J::FullOuter(on)
        | J::CrossJoin(on)
        | J::Semi(on)
        | J::LeftSemi(on)
        | J::RightSemi(on)
        | J::Anti(on)
        | J::LeftAnti(on)
        | J::RightAnti(on)
        | J::StraightJoin(on) => Some(on),
        _ => None,
    }
}

/// The names in EXCLUDE and EXCEPT.
pub(super) fn excluded(options: &WildcardAdditionalOptions) -> Vec<Ident> {
    let last = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident().cloned());
    let mut idents: Vec<Ident> = match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => last(name).into_iter().collect(),
        Some(ExcludeSelectItem::Multiple(names)) => names.iter().filter_map(last).collect(),
        None => Vec::new(),
    };
    if let Some(except) = &options.opt_except {
        idents.push(except.first_element.clone());
        idents.extend(except.additional_elements.iter().cloned());
    }
    idents
}

/// Adds columns to those that a wildcard excludes.
pub(super) fn exclude(options: &mut WildcardAdditionalOptions, columns: &[&str]) {
    let known: Vec<String> = excluded(options).iter().map(name).collect();
    let added: Vec<ObjectName> = columns
        .iter()
        .filter(|column| !known.iter().any(|known| known == *column))
        .map(|column| ObjectName::from(vec![Ident::new(*column)]))
        .collect();
    if added.is_empty() {
        return;
    }
    let mut names = match options.opt_exclude.take() {
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
        None => Vec::new(),
    };
    names.extend(added);
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
}
