//! Claims that no text may make to somebody who may have paid.

/// A text's first sentence that says that nothing was charged. Only Stripe knows that: the learner
/// may have paid a moment ago, or in another tab.
#[must_use]
pub fn denial_of_a_charge(text: &str) -> Option<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let sentences = text.split(['.', '!', '?', ':', ';', '|', '"', '`']);
    let denies = |sentence: &&str| {
        let words: Vec<&str> =
            sentence.split(|c: char| !c.is_alphanumeric() && !['\'', '’'].contains(&c)).collect();
        let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
        let is_negative = has(&["no", "nobody", "none", "not", "nothing", "never", "without"])
            || words.iter().any(|word| word.ends_with("n't") || word.ends_with("n’t"));
        let nothing_was = ["nothing was ", "nothing has been ", "nothing is "];
        let nothing_was_paid = nothing_was.iter().any(|nothing_was| {
            ["paid", "taken", "debited"]
                .iter()
                .any(|verb| sentence.contains(&format!("{nothing_was}{verb}")))
        });
        (is_negative && has(&["charged", "charges", "charging"])) || nothing_was_paid
    };
    sentences.map(str::trim).find(denies).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_found_in_any_wording() {
        for text in [
            "Nothing was charged.",
            "Please wait. Nothing has been\n    charged; try again.",
            "You haven't been charged.",
            "You haven’t been charged yet",
            "The checkout is still open, and nothing was charged.",
            "Leaving it charges nothing.",
            "Your card was not charged.",
            "No card has been charged.",
            "Nothing was paid. Ask the shop for another checkout.",
        ] {
            assert!(denial_of_a_charge(text).is_some(), "{text}");
        }
        for text in [
            "If you have paid already, your access opens on its own.",
            "If you haven't paid, open the link again.",
            "You don't have to pay again.",
            "Not paid yet. The checkout is still open.",
            "Nothing is lost. Please try again in a moment.",
            "It isn't clear whether you have paid. You are charged once.",
            "charge.refunded",
        ] {
            assert_eq!(denial_of_a_charge(text), None, "{text}");
        }
    }
}
