//! What a misspelt name probably means.

/// Letters off, in all of a word: at most one in this many.
const LETTERS_PER_TYPO: usize = 3;

/// A shorter word is a part of too many names.
const MIN_PART: usize = 3;

/// Names in a hint.
const MAX_NAMES: usize = 3;

/// The candidates that a misspelt `word` may mean, at most three; none if nothing is similar.
///
/// Near are those with a third of the word's letters off or fewer (swapped neighbours count once, upper and lower case
/// are the same), and only the nearest of them. Where none is near, those that contain the word, the shortest first.
pub fn similar<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let near = near(word, candidates.iter().copied());
    if !near.is_empty() || word.chars().count() < MIN_PART {
        return near;
    }
    let word = word.to_lowercase();
    let containing = candidates.into_iter().filter(|candidate| candidate.to_lowercase().contains(&word));
    ordered(containing.map(|candidate| (candidate.chars().count(), candidate)).collect())
}

/// The nearest candidates, if they are near enough for a typo.
pub(crate) fn near<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / LETTERS_PER_TYPO).max(1);
    let distances = candidates.into_iter().map(|candidate| {
        let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
        (distance, candidate)
    });
    let mut near: Vec<(usize, &str)> = distances
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .collect();
    let least = near.iter().map(|(distance, _)| *distance).min();
    near.retain(|(distance, _)| Some(*distance) == least);
    ordered(near)
}

fn ordered(mut found: Vec<(usize, &str)>) -> Vec<&str> {
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|(_, candidate)| candidate).take(MAX_NAMES).collect()
}

/// The hint for a misspelt `word`: `did you mean 'x'?`, if a candidate is similar.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    suggestion(&similar(word, candidates))
}

/// `did you mean 'x' or 'y'?`, if there is a name.
pub fn suggestion<S: AsRef<str>>(names: &[S]) -> Option<String> {
    let names: Vec<String> = names.iter().map(|name| format!("'{}'", name.as_ref())).collect();
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(similar("typ_1", ["type_2", "type_1", "total"]), ["type_1"]);
        assert_eq!(similar("FORM", ["SELECT", "FROM"]), ["FROM"]);
        assert_eq!(similar("weight", ["type_1", "total"]), [""; 0]);
        assert_eq!(similar("x", ["y"]), [""; 0]);
    }

    #[test]
    fn of_equally_near_names_both_are_suggested() {
        assert_eq!(did_you_mean("type_3", ["type_2", "type_1"]).as_deref(), Some("did you mean 'type_1' or 'type_2'?"));
        assert_eq!(did_you_mean("type_3", []), None);
    }

    #[test]
    fn a_part_of_a_name_is_similar_where_nothing_is_near() {
        assert_eq!(similar("orders", ["shop.orders.v2", "payments"]), ["shop.orders.v2"]);
        assert_eq!(similar("orders", ["shop.orders.v2", "order"]), ["order"]);
        assert_eq!(similar("or", ["shop.orders.v2"]), [""; 0]);
    }
}
