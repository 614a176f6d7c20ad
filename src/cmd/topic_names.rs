//! Topics as a user names them: each once, and each known to the cluster.

use anyhow::bail;

/// Topics named in an error where none is similar.
const TOPICS_SHOWN: usize = 8;

/// The topics asked for, each once and in that order; an error that helps where one is not among the `known` ones.
///
/// Asked before anything else: a mistyped name must not end in half an answer, nor make a broker create the topic.
pub fn chosen(topics: Vec<String>, known: &[String]) -> anyhow::Result<Vec<String>> {
    let mut distinct = Vec::with_capacity(topics.len());
    for topic in topics {
        if !known.contains(&topic) {
            bail!(unknown_topic(&topic, known));
        }
        if !distinct.contains(&topic) {
            distinct.push(topic);
        }
    }
    Ok(distinct)
}

fn unknown_topic(topic: &str, known: &[String]) -> String {
    let mut similar: Vec<_> = known
        .iter()
        .map(|name| (strsim::jaro_winkler(&topic.to_lowercase(), &name.to_lowercase()), name.as_str()))
        .filter(|(similarity, name)| *similarity > 0.8 || name.contains(topic))
        .collect();
    similar.sort_by(|left, right| right.0.total_cmp(&left.0));
    let names: Vec<_> = similar.iter().take(3).map(|(_, name)| *name).collect();
    if !names.is_empty() {
        return format!("there is no topic '{topic}'; did you mean {}?", names.join(" or "));
    }
    match known.len() {
        0 => format!("there is no topic '{topic}': the cluster has no topics"),
        count => {
            let shown: Vec<_> = known.iter().take(TOPICS_SHOWN).map(String::as_str).collect();
            let rest = if count > TOPICS_SHOWN { format!(" and {} more", count - TOPICS_SHOWN) } else { String::new() };
            format!("there is no topic '{topic}'; the cluster has {}{rest}", shown.join(", "))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_named_twice_is_one() {
        let known = ["a", "b", "c"].map(String::from);
        let asked = ["c", "a", "c"].map(String::from).to_vec();
        assert_eq!(chosen(asked, &known).unwrap(), ["c", "a"]);
    }

    #[test]
    fn an_unknown_topic_names_similar_ones() {
        let known = ["orders", "payments", "shop.orders.v2"].map(String::from);
        assert_eq!(unknown_topic("ordres", &known), "there is no topic 'ordres'; did you mean orders?");
        assert_eq!(
            unknown_topic("xyz", &known),
            "there is no topic 'xyz'; the cluster has orders, payments, shop.orders.v2"
        );
        assert_eq!(unknown_topic("xyz", &[]), "there is no topic 'xyz': the cluster has no topics");
    }
}
