//! Compares every item of the table with what must be there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use simulation::oracle::{DisputeState, Payment, RefundState};

use super::script::Source;

/// The expected contents of the table.
#[derive(Debug, Default)]
pub struct Expected {
    /// Every source.
    pub sources: BTreeMap<String, Source>,
    /// Each event about a source, and the source.
    pub events: BTreeMap<String, String>,
    /// Those of them that report a verdict: each moves its source's version, even if the verdict is
    /// known.
    pub verdicts: BTreeSet<String>,
    /// Events with a garbled copy.
    pub garbled: BTreeSet<String>,
    /// The buyers, with everything that Stripe has of them.
    pub buyers: BTreeMap<String, Buyer>,
}

/// What Stripe has of a buyer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buyer {
    /// Every customer that was created for them.
    pub customers: Vec<String>,
    /// The sessions that they paid, for each product that a session was opened for.
    pub sessions: BTreeMap<String, Vec<String>>,
}

/// The table, sorted by kind of item.
#[derive(Debug, Default)]
struct Found<'a> {
    events: BTreeMap<&'a str, &'a Value>,
    quarantined: BTreeMap<&'a str, &'a Value>,
    sources: BTreeMap<&'a str, &'a Value>,
    accesses: BTreeMap<&'a str, &'a Value>,
    double_payments: BTreeSet<(&'a str, &'a str)>,
    customers: BTreeMap<&'a str, &'a Value>,
    checkouts: BTreeMap<(&'a str, &'a str), &'a Value>,
    others: Vec<(&'a str, &'a str)>,
}

/// What is wrong with these items; empty if nothing is.
#[must_use]
pub fn audit(items: &[Value], expected: &Expected) -> Vec<String> {
    let found = Found::sort(items);
    let mut wrong = Vec::new();
    wrong.extend(found.others.iter().map(|(pk, sk)| format!("unexpected item {pk} {sk}")));
    found.check_events(expected, &mut wrong);
    found.check_quarantine(expected, &mut wrong);
    found.check_sources(expected, &mut wrong);
    found.check_accesses(&mut wrong);
    found.check_double_payments(&mut wrong);
    found.check_buyers(expected, &mut wrong);
    wrong
}

impl<'a> Found<'a> {
    fn sort(items: &'a [Value]) -> Self {
        let mut found = Self::default();
        for item in items {
            let (pk, sk) = (item["pk"].as_str().unwrap(), item["sk"].as_str().unwrap());
            let (kind, id) = pk.split_once('#').unwrap_or((pk, ""));
            let (what, detail) = sk.split_once('#').unwrap_or((sk, ""));
            match (kind, what) {
                ("EVENT", "EVENT") => drop(found.events.insert(id, item)),
                ("QUARANTINE", event) => drop(found.quarantined.insert(event, item)),
                ("DOUBLE_PAYMENT", learner) => {
                    found.double_payments.extend([(learner, detail)]);
                }
                ("SOURCE", "SOURCE") => drop(found.sources.insert(id, item)),
                ("LEARNER", "ACCESS") => drop(found.accesses.insert(id, item)),
                ("LEARNER", "CUSTOMER") => drop(found.customers.insert(id, item)),
                ("LEARNER", "CHECKOUT") => drop(found.checkouts.insert((id, detail), item)),
                // Rate limits are the learners' own; the catalog was there before.
                ("LEARNER", "RATE") | ("CATALOG", "CURRENT") => {}
                _ => found.others.push((pk, sk)),
            }
        }
        found
    }

    /// Exactly the events about sources are recorded.
    fn check_events(&self, expected: &Expected, wrong: &mut Vec<String>) {
        for (event, source) in &expected.events {
            match self.events.get(event.as_str()).map(|item| &item["outcome"]) {
                None => wrong.push(format!("{event}, about {source}, is not recorded")),
                Some(outcome) if outcome != "applied" && outcome != "unchanged" => {
                    wrong.push(format!("{event}, about {source}, stays {outcome}"));
                }
                Some(_) => {}
            }
        }
        let is_expected = |event: &str| expected.events.contains_key(event);
        for (event, item) in self.events.iter().filter(|(event, _)| !is_expected(event)) {
            // An event is recognized as irrelevant by its object, which could not be read.
            let was_garbled = expected.garbled.contains(*event) && item["outcome"] != "applied";
            if !was_garbled {
                wrong.push(format!("{event} is recorded but changes nothing"));
            }
        }
    }

    /// The quarantined events were read later.
    fn check_quarantine(&self, expected: &Expected, wrong: &mut Vec<String>) {
        for (event, item) in &self.quarantined {
            if !expected.garbled.contains(*event) {
                wrong.push(format!("{event} is quarantined although it can be read"));
            } else if item["resolved_at"].is_null() && expected.events.contains_key(*event) {
                wrong.push(format!("{event} stays quarantined although it was read later"));
            }
        }
    }

    /// Each source has the facts that Stripe reported, and was written once for each event applied
    /// to it.
    fn check_sources(&self, expected: &Expected, wrong: &mut Vec<String>) {
        for source in self.sources.keys().filter(|id| !expected.sources.contains_key(**id)) {
            wrong.push(format!("no event is about {source}"));
        }
        for (id, source) in &expected.sources {
            let Some(item) = self.sources.get(id.as_str()) else {
                wrong.push(format!("{id} of {} is lost", source.learner));
                continue;
            };
            let mut facts = item.as_object().unwrap().clone();
            for of_the_item in ["pk", "sk", "version"] {
                facts.remove(of_the_item);
            }
            forget_readings(&mut facts);
            if facts != facts_of(source) {
                let (is, must) = (Value::Object(facts), Value::Object(facts_of(source)));
                wrong.push(format!("{id} is {is}, expected {must}"));
            }
            let version = item["version"].as_u64().unwrap_or_default();
            let applied = self.applied_to(id, expected) + self.verdicts_known_to(id, expected);
            if !(applied.max(1)..=applied + source.readings_max).contains(&version) {
                wrong.push(format!(
                    "{id} was written {version} times, but {applied} events were applied to it"
                ));
            }
        }
    }

    fn applied_to(&self, source: &str, expected: &Expected) -> u64 {
        let of_source = expected.events.iter().filter(|(_, told)| *told == source);
        let is_applied =
            |event: &str| self.events.get(event).is_some_and(|item| item["outcome"] == "applied");
        of_source.filter(|(event, _)| is_applied(event)).map(|_| 1).sum()
    }

    fn verdicts_known_to(&self, source: &str, expected: &Expected) -> u64 {
        let of_source = expected.events.iter().filter(|(_, told)| *told == source);
        let is_unchanged =
            |event: &str| self.events.get(event).is_some_and(|item| item["outcome"] == "unchanged");
        let known = of_source
            .filter(|(event, _)| expected.verdicts.contains(*event) && is_unchanged(event));
        known.map(|_| 1).sum()
    }

    /// Every learner with two valid payments for one product is listed, and nobody who never had
    /// two that succeeded.
    fn check_double_payments(&self, wrong: &mut Vec<String>) {
        let mut arrived: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
        for (id, source) in self.sources.iter().filter(|(id, _)| id.starts_with("pi_")) {
            let text = |name: &str| source[name].as_str().unwrap_or_default();
            if text("payment") != "paid" {
                continue;
            }
            let (all, paid) = arrived.entry((text("learner"), text("product"))).or_default();
            *all += 1;
            let grant = grant_of(self.sources[id]);
            let stands = grant["status"] == "active" && grant["refunded_percent"] != 100;
            *paid += usize::from(stands);
        }
        for (pair, (_, paid)) in &arrived {
            if *paid > 1 && !self.double_payments.contains(pair) {
                wrong.push(format!("{pair:?} is paid for {paid} times, but not listed"));
            }
        }
        for pair in &self.double_payments {
            if arrived.get(pair).is_none_or(|(all, _)| *all < 2) {
                wrong.push(format!("{pair:?} is listed as a duplicate payment, but is none"));
            }
        }
    }

    /// Removes the claims from a learner's entitlements after checking them: each is a succeeded
    /// payment of theirs for that product, and there is one for each product that a payment opens.
    fn check_claims(&self, learner: &str, has: &mut Map<String, Value>, wrong: &mut Vec<String>) {
        let mut claimed = BTreeSet::new();
        has.retain(|name, value| {
            let Some(product) = name.strip_prefix("first#") else { return true };
            let source = self.sources.get(value.as_str().unwrap_or_default());
            let is_theirs = source.is_some_and(|source| {
                source["learner"] == learner
                    && source["product"] == product
                    && source["payment"] == "paid"
            });
            if !is_theirs {
                wrong.push(format!("{learner} has {name} {value}, which is no payment for it"));
            }
            claimed.insert(product.to_owned());
            false
        });
        for (source, grant) in has {
            let product = grant["product"].as_str().unwrap_or_default();
            let stands = grant["status"] == "active" && grant["refunded_percent"] != 100;
            if source.starts_with("pi_") && stands && !claimed.contains(product) {
                wrong.push(format!("{learner} has {product} through {source} without a claim"));
            }
        }
    }

    /// A learner's entitlements are exactly what their stored sources give.
    fn check_accesses(&self, wrong: &mut Vec<String>) {
        let mut folded: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for (id, source) in &self.sources {
            let learner = source["learner"].as_str().unwrap_or_default();
            folded.entry(learner).or_default().insert((*id).to_owned(), grant_of(source));
        }
        let learners: BTreeSet<&str> = folded.keys().chain(self.accesses.keys()).copied().collect();
        for learner in learners {
            let mut has = match self.accesses.get(learner) {
                Some(item) => item.as_object().unwrap().clone(),
                None => Map::new(),
            };
            for of_the_item in ["pk", "sk"] {
                has.remove(of_the_item);
            }
            self.check_claims(learner, &mut has, wrong);
            let must = folded.remove(learner).unwrap_or_default();
            if has != must {
                let (has, must) = (Value::Object(has), Value::Object(must));
                wrong.push(format!("{learner} has {has}, but their sources give {must}"));
            }
        }
    }

    /// One customer for each buyer, one paid session for each product, and the table names them.
    fn check_buyers(&self, expected: &Expected, wrong: &mut Vec<String>) {
        let on_record = |item: Option<&&Value>, name: &str| -> Vec<String> {
            item.and_then(|item| item[name].as_str()).map(str::to_owned).into_iter().collect()
        };
        for (learner, buyer) in &expected.buyers {
            let customer = on_record(self.customers.get(learner.as_str()), "customer");
            if buyer.customers.len() != 1 || customer != buyer.customers {
                wrong.push(format!(
                    "{learner} is the customer {customer:?}, but Stripe has {:?}",
                    buyer.customers
                ));
            }
            for (product, paid) in &buyer.sessions {
                let attempt = self.checkouts.get(&(learner.as_str(), product.as_str()));
                let session = on_record(attempt, "session");
                // A rate-limited buyer has not paid.
                if paid.len() > 1 || (paid.len() == 1 && session != *paid) {
                    wrong.push(format!(
                        "{learner} got {session:?} to pay for {product}, but paid {paid:?}"
                    ));
                }
            }
        }
        for learner in self.customers.keys().filter(|id| !expected.buyers.contains_key(**id)) {
            wrong.push(format!("{learner} is a customer without having bought"));
        }
        let is_known = |learner: &str, product: &str| {
            expected.buyers.get(learner).is_some_and(|buyer| buyer.sessions.contains_key(product))
        };
        for (learner, product) in self.checkouts.keys().filter(|(id, key)| !is_known(id, key)) {
            wrong.push(format!("{learner} has an attempt at {product} unknown to Stripe"));
        }
    }
}

/// A source's attributes.
fn facts_of(source: &Source) -> Map<String, Value> {
    let mut facts = json!({
        "learner": source.learner,
        "product": source.product,
        "price": source.price,
        "session": source.session,
        "opened_at": source.opened_at,
        "amount": source.amount,
        "currency": source.currency,
        "payment": match source.payment {
            Payment::Processing => "processing",
            Payment::Failed => "failed",
            Payment::Paid { .. } => "paid",
        },
        "shape": 2,
    });
    let paid_at = match source.payment {
        Payment::Paid { since } => Some(since),
        Payment::Processing | Payment::Failed => None,
    };
    for (name, at) in [
        ("processing_at", source.processing_at),
        ("failed_at", source.failed_at),
        ("paid_at", paid_at),
    ] {
        if let Some(at) = at {
            facts[name] = at.into();
        }
    }
    for (id, refund) in &source.reversals.refunds {
        let statuses =
            refund.statuses.iter().map(|(state, at)| (refund_word(*state).to_owned(), *at));
        let mut item: Map<String, Value> = statuses.map(|(word, at)| (word, at.into())).collect();
        item.insert("amount".to_owned(), refund.amount.into());
        facts[format!("refund#{id}")] = item.into();
    }
    for (id, dispute) in &source.reversals.disputes {
        let statuses =
            dispute.statuses.iter().map(|(state, at)| (dispute_word(*state).to_owned(), *at));
        let mut item: Map<String, Value> = statuses.map(|(word, at)| (word, at.into())).collect();
        if item.contains_key("appealed") || verdicts(&item) > 1 {
            item.insert("read".to_owned(), dispute_word(dispute.state).into());
        }
        facts[format!("dispute#{id}")] = item.into();
    }
    for (id, at) in &source.reversals.warnings {
        facts[format!("fraud_warning#{id}")] = (*at).into();
    }
    facts.as_object().unwrap().clone()
}

/// How often Stripe was called depends on the order of its events.
fn forget_readings(facts: &mut Map<String, Value>) {
    for (name, value) in facts.iter_mut().filter(|(name, _)| name.starts_with("dispute#")) {
        let dispute = value.as_object_mut().unwrap();
        let is_read = dispute.remove("reading").is_some_and(|reading| reading.as_u64() > Some(0));
        assert_eq!(is_read, dispute.contains_key("read"), "{name}");
    }
}

const fn refund_word(state: RefundState) -> &'static str {
    match state {
        RefundState::Pending => "pending",
        RefundState::RequiresAction => "requires_action",
        RefundState::Succeeded => "succeeded",
        RefundState::Canceled => "canceled",
        RefundState::Failed => "failed",
    }
}

const fn dispute_word(state: DisputeState) -> &'static str {
    match state {
        DisputeState::Inquiry => "inquiry",
        DisputeState::InquiryClosed => "inquiry_closed",
        DisputeState::Open => "open",
        DisputeState::Won => "won",
        DisputeState::Blocked => "blocked",
        DisputeState::Lost => "lost",
        DisputeState::Resolved => "resolved",
        DisputeState::Appealed => "appealed",
    }
}

fn verdicts(dispute: &Map<String, Value>) -> usize {
    ["won", "blocked", "lost", "resolved"].iter().filter(|it| dispute.contains_key(**it)).count()
}

/// What a stored source gives, by the table's own description.
fn grant_of(source: &Value) -> Value {
    let facts = source.as_object().unwrap();
    let of = |prefix: &'static str| {
        facts.iter().filter(move |(name, _)| name.starts_with(prefix)).map(|(_, value)| value)
    };
    let disputes: Vec<&str> = of("dispute#").map(dispute_status).collect();
    let status = match source["payment"].as_str() {
        Some("paid") if disputes.iter().any(|it| ["lost", "resolved"].contains(it)) => {
            "dispute_lost"
        }
        Some("paid") if disputes.iter().any(|it| ["open", "appealed"].contains(it)) => "suspended",
        Some("paid") => "active",
        payment => payment.unwrap_or_default(),
    };
    let mut grant = json!({ "product": source["product"], "status": status });
    if source["payment"] == "paid" {
        grant["since"] = source["paid_at"].clone();
    }
    let live = of("refund#").filter(|it| it["failed"].is_null() && it["canceled"].is_null());
    let refunded: i64 = live.filter_map(|refund| refund["amount"].as_i64()).sum();
    if refunded > 0 {
        let percent = (refunded * 100 / source["amount"].as_i64().unwrap()).min(100);
        if percent > 0 {
            grant["refunded_percent"] = percent.into();
        }
    }
    grant
}

/// A stored dispute's status: the furthest one reported, unless Stripe had to be asked.
fn dispute_status(dispute: &Value) -> &str {
    const FURTHER: [&str; 8] =
        ["inquiry", "inquiry_closed", "open", "won", "blocked", "lost", "resolved", "appealed"];
    let furthest = FURTHER.iter().rev().find(|status| !dispute[**status].is_null());
    dispute["read"].as_str().unwrap_or_else(|| furthest.unwrap())
}

#[cfg(test)]
mod tests {
    use simulation::oracle::Reversals;

    use super::*;

    const SINCE: i64 = 1_795_240_800;

    fn expected() -> Expected {
        let source = Source {
            learner: "ada".to_owned(),
            product: "tutorclaw".to_owned(),
            price: "tutorclaw_paid".to_owned(),
            session: "cs_1".to_owned(),
            opened_at: SINCE - 60,
            amount: 2900,
            currency: "usd".to_owned(),
            payment: Payment::Paid { since: SINCE },
            processing_at: None,
            failed_at: None,
            reversals: Reversals::default(),
            readings_max: 0,
        };
        Expected {
            sources: [("pi_1".to_owned(), source)].into(),
            events: [("evt_1".to_owned(), "pi_1".to_owned())].into(),
            ..Expected::default()
        }
    }

    fn items() -> Vec<Value> {
        let mut source = Value::Object(facts_of(&expected().sources["pi_1"]));
        source["pk"] = "SOURCE#pi_1".into();
        source["sk"] = "SOURCE".into();
        source["version"] = 1.into();
        let grant = json!({ "product": "tutorclaw", "status": "active", "since": SINCE });
        vec![
            json!({ "pk": "EVENT#evt_1", "sk": "EVENT", "outcome": "applied" }),
            source,
            json!({
                "pk": "LEARNER#ada", "sk": "ACCESS", "pi_1": grant, "first#tutorclaw": "pi_1",
            }),
        ]
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Vec<Value>), complaint: &str) {
        let mut items = items();
        change(&mut items);
        let wrong = audit(&items, &expected());
        assert!(wrong.iter().any(|said| said.contains(complaint)), "{complaint}: {wrong:?}");
    }

    #[test]
    fn a_correct_table_has_no_findings() {
        assert_eq!(audit(&items(), &expected()), Vec::<String>::new());
    }

    #[test]
    fn lost_duplicated_and_unexpected_items_are_reported() {
        check(|items| drop(items.remove(0)), "evt_1, about pi_1, is not recorded");
        check(|items| items[0]["outcome"] = "quarantined".into(), "stays");
        check(|items| drop(items.remove(1)), "pi_1 of ada is lost");
        check(|items| items[1]["version"] = 2.into(), "pi_1 was written 2 times, but 1 events");
        check(|items| items[0]["outcome"] = "unchanged".into(), "0 events were applied to it");
        check(|items| items[1]["payment"] = "failed".into(), ", expected");
        check(|items| items[1]["paid_at"] = (SINCE + 1).into(), ", expected");
        check(|items| drop(items.remove(2)), "ada has {}, but their sources give");
        check(|items| items[2]["pi_2"] = json!({}), "ada has");
        check(|items| items[2]["first#tutorclaw"] = "pi_2".into(), "which is no payment for it");
        check(
            |items| drop(items[2].as_object_mut().unwrap().remove("first#tutorclaw")),
            "without a claim",
        );
        check(
            |items| items.push(json!({ "pk": "DOUBLE_PAYMENT", "sk": "ada#tutorclaw" })),
            "listed as a duplicate payment, but is none",
        );
        check(
            |items| {
                let mut second = items[1].clone();
                second["pk"] = "SOURCE#pi_2".into();
                items.push(second);
            },
            "is paid for 2 times, but not listed",
        );
        check(
            |items| items.push(json!({ "pk": "EVENT#evt_2", "sk": "EVENT" })),
            "evt_2 is recorded but changes nothing",
        );
        check(
            |items| items.push(json!({ "pk": "SOURCE#pi_9", "sk": "SOURCE" })),
            "no event is about pi_9",
        );
        check(
            |items| items.push(json!({ "pk": "QUARANTINE", "sk": "evt_1" })),
            "evt_1 is quarantined although it can be read",
        );
        check(
            |items| items.push(json!({ "pk": "LEARNER#eve", "sk": "CUSTOMER", "customer": "c" })),
            "eve is a customer",
        );
        check(
            |items| items.push(json!({ "pk": "LINK#x", "sk": "LINK" })),
            "unexpected item LINK#x",
        );
    }

    #[test]
    fn a_second_customer_or_session_is_named() {
        let mut expected = expected();
        let buyer = Buyer {
            customers: vec!["cus_1".to_owned(), "cus_2".to_owned()],
            sessions: [("tutorclaw".to_owned(), vec!["cs_1".to_owned(), "cs_2".to_owned()])].into(),
        };
        expected.buyers.insert("ada".to_owned(), buyer);
        let mut items = items();
        items.push(json!({ "pk": "LEARNER#ada", "sk": "CUSTOMER", "customer": "cus_1" }));
        let attempt = "CHECKOUT#tutorclaw";
        items.push(json!({ "pk": "LEARNER#ada", "sk": attempt, "session": "cs_1" }));
        let wrong = audit(&items, &expected);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }
}
