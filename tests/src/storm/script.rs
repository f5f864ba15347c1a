//! A storm's script: many small histories at Stripe, all for one shop.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use simulation::oracle::{Action, Effect, Message, Payment, Reversals, SourceState, Stripe};

use super::random::Random;

/// The most actions of one history.
const WORDS: usize = 40;
/// The percentage of a purchase that must be refunded to end access: the stack's own.
const REFUND_THRESHOLD: i64 = 100;

/// A learner and their product.
pub type Pair = (String, String);

/// The events, and the expected end.
#[derive(Debug, Default)]
pub struct Script {
    /// Stripe's events.
    pub messages: Vec<Message>,
    /// The expected state of each source.
    pub sources: BTreeMap<String, Source>,
    /// Who has access once everything is delivered.
    pub holders: BTreeSet<Pair>,
    /// Those of them who never lose access once they have it: none of their payments is ever
    /// reversed.
    pub steady: BTreeSet<Pair>,
    /// The sources that never close once their payment is reported.
    pub steady_sources: BTreeSet<String>,
    /// Events that report a verdict: each moves its source's version, even if the verdict is known.
    pub verdicts: BTreeSet<String>,
    /// Stripe, by the number of the history.
    stripes: Vec<Stripe>,
}

/// A source as it must be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The learner.
    pub learner: String,
    /// The product.
    pub product: String,
    /// The price.
    pub price: String,
    /// The session.
    pub session: String,
    /// When the session was opened, in Unix seconds.
    pub opened_at: i64,
    /// The session's total, in the minor unit.
    pub amount: i64,
    /// In which currency.
    pub currency: String,
    /// The payment's outcome.
    pub payment: Payment,
    /// When Stripe first reported that it was processing, if it did; Unix seconds.
    pub processing_at: Option<i64>,
    /// When Stripe first reported that it had failed, if it did.
    pub failed_at: Option<i64>,
    /// What happened to the money afterwards.
    pub reversals: Reversals,
    /// How often the session may have been read besides the events.
    pub readings_max: u64,
}

impl Script {
    /// Histories with at least this many events.
    #[must_use]
    pub fn write(seed: u64, events: usize, start: i64) -> Self {
        let mut random = Random::new(seed, "script");
        let mut script = Self::default();
        for history in 0.. {
            if script.messages.len() >= events {
                break;
            }
            let prefix = format!("s{history}x");
            let mut stripe = Stripe::new(&prefix, start);
            for _ in 0..WORDS {
                stripe.happen(word(&mut random));
            }
            script.add(stripe);
        }
        script
    }

    fn add(&mut self, stripe: Stripe) {
        let mut unsteady = BTreeSet::new();
        for (id, held) in stripe.truth() {
            let pair = (held.learner.clone(), held.product.clone());
            let goes_back =
                !held.reversals.refunds.is_empty() || !held.reversals.disputes.is_empty();
            if goes_back {
                unsteady.insert(pair.clone());
            }
            if held.is_open(REFUND_THRESHOLD) {
                self.holders.insert(pair);
                if !goes_back {
                    self.steady_sources.insert(id.clone());
                }
            }
            self.sources.insert(id, Source::held(held));
        }
        let of_this = stripe.truth().into_values().map(|held| (held.learner, held.product));
        let steady = of_this.filter(|pair| self.holders.contains(pair) && !unsteady.contains(pair));
        self.steady.extend(steady);
        let is_verdict = |message: &&Message| {
            let status = message.body["data"]["object"]["status"].as_str().unwrap_or_default();
            let after_verdict = ["won", "lost", "prevented"].contains(&status);
            message.dispute_version.is_some() && (after_verdict || status.starts_with("appeal_"))
        };
        let verdicts = stripe.messages().iter().filter(is_verdict);
        self.verdicts.extend(verdicts.filter_map(|it| Some(it.body["id"].as_str()?.to_owned())));
        self.messages.extend_from_slice(stripe.messages());
        self.stripes.push(stripe);
    }

    /// Stripe's response at this path, for objects of the script. Everything has happened.
    #[must_use]
    pub fn read_at_stripe(&self, path: &str) -> Option<Value> {
        let (what, id) = path.strip_prefix("/v1/")?.split_once('/')?;
        let (_, number) = id.rsplit_once('_')?;
        let (history, _) = number.strip_prefix('s')?.split_once('x')?;
        let stripe = self.stripes.get(history.parse::<usize>().ok()?)?;
        match what {
            "payment_intents" => stripe.payment(id),
            "disputes" => stripe.dispute(id, stripe.changes(id)).cloned(),
            _ => None,
        }
    }

    /// Every learner in the events.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        let pairs = self.sources.values();
        let pairs: BTreeSet<Pair> =
            pairs.map(|source| (source.learner.clone(), source.product.clone())).collect();
        pairs.into_iter().collect()
    }
}

impl Source {
    fn held(held: SourceState) -> Self {
        Self {
            learner: held.learner,
            product: held.product,
            price: held.price,
            session: held.session,
            opened_at: held.opened_at,
            amount: held.amount,
            currency: "usd".to_owned(),
            payment: held.payment,
            processing_at: held.processing_at,
            failed_at: held.failed_at,
            reversals: held.reversals,
            readings_max: 0,
        }
    }

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
            opened_at: session["created"].as_i64().unwrap_or_default(),
            amount: session["amount_total"].as_i64().unwrap_or_default(),
            currency: text(&session["currency"]),
            payment: Payment::Processing,
            processing_at: None,
            failed_at: None,
            reversals: Reversals::default(),
            readings_max: 0,
        }
    }
}

/// The learner and product that this event opens, if any.
#[must_use]
pub fn opened_by(message: &Message) -> Option<Pair> {
    let session = &message.body["data"]["object"];
    let is_paid = ["paid", "no_payment_required"].map(Value::from);
    let is_ours = message.effect != Effect::Nothing;
    (is_ours && is_paid.contains(&session["payment_status"])).then(|| {
        let sold = Source::sold(session);
        (sold.learner, sold.product)
    })
}

/// The next action. Reading a session is left out: the simulator's Stripe doesn't have it.
fn word(random: &mut Random) -> Action {
    let number = random.byte();
    match random.within(1..=100) {
        1..=16 => Action::Open { learner: number, product: random.byte() },
        17 => Action::Decline { session: number },
        18..=27 => Action::Card { session: number },
        28..=29 => Action::Nothing { session: number },
        30..=37 => Action::Debit { session: number },
        38..=44 => Action::Settle { session: number },
        45..=46 => Action::Refuse { session: number },
        47 => Action::Expire { session: number },
        48..=53 => Action::Refund { session: number, parts: 1 + number % 3, start: random.byte() },
        54..=55 => Action::RefundArrives { refund: number },
        56 => Action::RefundIsCanceled { refund: number },
        57..=58 => Action::RefundFails { refund: number },
        59..=62 => Action::Dispute { session: number, is_inquiry: random.percent(40) },
        63..=64 => Action::Escalate { dispute: number },
        65 => Action::CloseInquiry { dispute: number },
        66 => Action::Evidence { dispute: number },
        67..=72 => Action::Decide { dispute: number, verdict: random.byte() },
        73..=74 => Action::Warn { session: number },
        75 => Action::DeleteCustomer { learner: number },
        76..=77 => Action::Foreign { kind: number, is_garbled: random.percent(30) },
        78..=91 => Action::Repeat { event: number, later: random.percent(80) },
        92..=95 => Action::Garble { event: number },
        96..=97 => Action::Stray { kind: number },
        _ => Action::Wait { seconds: number.into() },
    }
}
