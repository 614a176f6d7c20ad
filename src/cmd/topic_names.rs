//! Topics as a user names them: each once, and each known to the cluster.

use anyhow::bail;
use tallgrass_diagnostics::did_you_mean;

/// Topics named in an error where none is similar.
const TOPICS_SHOWN: usize = 8;

/// The requested topics, each once and in that order; an error with a hint where one is not among the `known` ones.
///
/// Checked first: a mistyped name must not give half an answer, nor make a broker create the topic.
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
    let hint = did_you_mean(topic, known.iter().map(String::as_str)).unwrap_or_else(|| match known.len() {
        0 => "the cluster has no topics".to_owned(),
        count => {
            let shown = known[..count.min(TOPICS_SHOWN)].join(", ");
            let rest = if count > TOPICS_SHOWN { format!(" and {} more", count - TOPICS_SHOWN) } else { String::new() };
            format!("the cluster has {shown}{rest}")
        }
    });
    format!("there is no topic '{topic}': {hint}")
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
        assert_eq!(unknown_topic("ordres", &known), "there is no topic 'ordres': did you mean 'orders'?");
        assert_eq!(
            unknown_topic("xyz", &known),
            "there is no topic 'xyz': the cluster has orders, payments, shop.orders.v2"
        );
        assert_eq!(unknown_topic("xyz", &[]), "there is no topic 'xyz': the cluster has no topics");
    }
}
