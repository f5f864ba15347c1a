//! What happens at Stripe in a storm: many small histories, all told to one shop.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use simulation::oracle::{Effect, Payment, Stripe, Telling, Word};

use super::random::Random;

/// Things that happen to the few learners of one history.
const WORDS: usize = 24;

/// A learner and what they buy.
pub type Pair = (String, String);

/// What is told, and what must be true in the end.
#[derive(Debug, Default)]
pub struct Script {
    /// Stripe's events.
    pub tellings: Vec<Telling>,
    /// What each source must be.
    pub sources: BTreeMap<String, Source>,
    /// Who holds something once all has been told, and so from the moment when it was first so.
    pub holders: BTreeSet<Pair>,
}

/// A source as it must be on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Whose it is.
    pub learner: String,
    /// Of what.
    pub product: String,
    /// At which price.
    pub price: String,
    /// Through which session.
    pub session: String,
    /// What the session came to, in the minor unit.
    pub amount: i64,
    /// In which currency.
    pub currency: String,
    /// What became of the payment.
    pub payment: Payment,
    /// How often the session may have been read besides what events tell.
    pub readings_max: u64,
}

impl Script {
    /// Histories of so many events at least.
    #[must_use]
    pub fn write(seed: u64, events: usize, start: i64) -> Self {
        let mut random = Random::new(seed, "script");
        let mut script = Self::default();
        for history in 0.. {
            if script.tellings.len() >= events {
                break;
            }
            let prefix = format!("s{history}x");
            let mut stripe = Stripe::new(&prefix, start);
            for _ in 0..WORDS {
                stripe.happen(word(&mut random));
            }
            script.add(&stripe);
        }
        script
    }

    fn add(&mut self, stripe: &Stripe) {
        let truth = stripe.truth();
        for telling in stripe.tellings() {
            if let Effect::Source(id) = &telling.effect {
                let held = &truth[id];
                let object = &telling.body["data"]["object"];
                let source = Source {
                    learner: held.learner.clone(),
                    product: held.product.clone(),
                    payment: held.payment,
                    readings_max: 0,
                    ..Source::sold(object)
                };
                if let Payment::Paid { .. } = source.payment {
                    self.holders.insert((source.learner.clone(), source.product.clone()));
                }
                self.sources.insert(id.clone(), source);
            }
        }
        self.tellings.extend_from_slice(stripe.tellings());
    }

    /// All of whom anything is told.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        let pairs = self.sources.values();
        let pairs: BTreeSet<Pair> =
            pairs.map(|source| (source.learner.clone(), source.product.clone())).collect();
        pairs.into_iter().collect()
    }
}

impl Source {
    /// What a session says was sold.
    #[must_use]
    pub fn sold(session: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &session["metadata"];
        Self {
            learner: text(&metadata["learner_id"]),
            product: text(&metadata["product"]),
            price: text(&metadata["price"]),
            session: text(&session["id"]),
            amount: session["amount_total"].as_i64().unwrap_or_default(),
            currency: text(&session["currency"]),
            payment: Payment::Processing,
            readings_max: 0,
        }
    }
}

/// Whom this event lets in, and to what, if anybody.
#[must_use]
pub fn opened_by(telling: &Telling) -> Option<Pair> {
    let session = &telling.body["data"]["object"];
    let is_paid = ["paid", "no_payment_required"].map(Value::from);
    let is_ours = telling.effect != Effect::Nothing;
    (is_ours && is_paid.contains(&session["payment_status"])).then(|| {
        let sold = Source::sold(session);
        (sold.learner, sold.product)
    })
}

/// What happens next. A session is only read where there is a Stripe to read it from, which is not
/// here but at the simulator.
fn word(random: &mut Random) -> Word {
    let number = random.byte();
    match random.within(1..=100) {
        1..=24 => Word::Open { learner: number, product: random.byte() },
        25 => Word::Decline { session: number },
        26..=36 => Word::Card { session: number },
        37..=39 => Word::Nothing { session: number },
        40..=54 => Word::Debit { session: number },
        55..=66 => Word::Settle { session: number },
        67..=70 => Word::Refuse { session: number },
        71..=72 => Word::Expire { session: number },
        73..=90 => Word::Repeat { event: number, later: random.percent(80) },
        91..=95 => Word::Garble { event: number },
        96..=97 => Word::Stray { kind: number },
        _ => Word::Wait { seconds: number.into() },
    }
}
