//! Stripe's side of the story: what learners did, what Stripe says of it, and who must have access
//! in the end.
//!
//! A small model that shares no code with what it judges. A history is a list of [`Action`]s; each is
//! possible in every state, or does nothing there, so that any list is a valid history, also one
//! from which actions have been taken out. A new kind of thing that can happen is a new action.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::rendering::{MARK, OTHER_MARK, Session, event};

pub use reversal::{Dispute, DisputeState, Refund, RefundState, Reversals};

mod reversal;

use reversal::{DisputeRecord, RefundRecord, WarningRecord};

/// Who buys.
const LEARNERS: [&str; 3] = ["ada", "bob", "eve"];
/// What is sold.
pub(crate) const PRODUCTS: [&str; 2] = ["tutorclaw", "curriculum"];
/// Events that are none of our business.
const STRAYS: [&str; 5] = [
    "of a type that nothing depends on",
    "another shop's",
    "of live mode",
    "of a connected account",
    "without a mark",
];

/// Something that happens at Stripe. A number picks one of those to which it can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A learner asks for a product, and a session is opened; also twice for the same.
    Open {
        /// Of the learners.
        learner: u8,
        /// Of the products.
        product: u8,
    },
    /// A card is declined; the session stays open.
    Decline {
        /// Of the open sessions.
        session: u8,
    },
    /// A card pays.
    Card {
        /// Of the open sessions.
        session: u8,
    },
    /// A discount leaves nothing to pay.
    Nothing {
        /// Of the open sessions.
        session: u8,
    },
    /// A bank debit is on its way.
    Debit {
        /// Of the open sessions.
        session: u8,
    },
    /// The bank pays a debit.
    Settle {
        /// Of the debits that are on their way.
        session: u8,
    },
    /// The bank refuses a debit.
    Refuse {
        /// Of the debits that are on their way.
        session: u8,
    },
    /// A session runs out.
    Expire {
        /// Of the open sessions.
        session: u8,
    },
    /// The learner comes back from Stripe, and we read their session.
    Read {
        /// Of all sessions.
        session: u8,
    },
    /// A payment that has arrived is refunded.
    Refund {
        /// Of the payments that have arrived.
        session: u8,
        /// One part of so many; all of it in one. Never more than is left.
        parts: u8,
        /// How it begins: the bank has it, the buyer has to do something, or it is made at once.
        start: u8,
    },
    /// The bank makes a refund.
    RefundArrives {
        /// Of the refunds that wait.
        refund: u8,
    },
    /// A refund is called off.
    RefundIsCanceled {
        /// Of the refunds that wait.
        refund: u8,
    },
    /// The bank can't make a refund, or gives it back.
    RefundFails {
        /// Of the refunds that wait or were made.
        refund: u8,
    },
    /// A bank disputes a payment.
    Dispute {
        /// Of the payments that have arrived.
        session: u8,
        /// It only asks.
        is_inquiry: bool,
    },
    /// An inquiry becomes a dispute.
    Escalate {
        /// Of the inquiries.
        dispute: u8,
    },
    /// The bank asks no more.
    CloseInquiry {
        /// Of the inquiries.
        dispute: u8,
    },
    /// The shop sends its evidence.
    Evidence {
        /// Of the inquiries and the open disputes.
        dispute: u8,
    },
    /// Stripe tells of the money that a dispute has moved.
    MoveFunds {
        /// Of the disputes that are no inquiries.
        dispute: u8,
    },
    /// A dispute or an appeal is decided, one that was decided is decided otherwise, or a lost one
    /// is appealed.
    Decide {
        /// Of those.
        dispute: u8,
        /// Won, lost, prevented or, of a lost one, appealed.
        verdict: u8,
    },
    /// Stripe warns that a card may be stolen.
    Warn {
        /// Of the payments that have arrived.
        session: u8,
    },
    /// A learner's customer is deleted at Stripe.
    DeleteCustomer {
        /// Of the learners.
        learner: u8,
    },
    /// The operator erases a learner.
    Erase {
        /// Of the learners.
        learner: u8,
    },
    /// Stripe tells us what another shop on the same account has sold or given back.
    Foreign {
        /// Of the kinds of that.
        kind: u8,
        /// It is also delivered in a shape that can't be read.
        is_garbled: bool,
    },
    /// Stripe tells a change once more, as another event.
    Repeat {
        /// Of the events so far.
        event: u8,
        /// A second later.
        later: bool,
    },
    /// Stripe also delivers an event in a shape that can't be read.
    Garble {
        /// Of the events so far.
        event: u8,
    },
    /// Stripe tells something that is none of our business.
    Stray {
        /// Of the kinds of those.
        kind: u8,
    },
    /// Time passes.
    Wait {
        /// How many seconds.
        seconds: u16,
    },
}

/// What Stripe says, and where.
#[derive(Debug, Clone)]
pub struct Message {
    /// An event, or a session that we have read.
    pub door: Door,
    /// The JSON: the event, or the session.
    pub body: Value,
    /// The same event in a shape that can't be read, if it is also delivered so.
    pub garbled: Option<Value>,
    /// What it is about.
    pub effect: Effect,
    /// What it says of that.
    pub fact: Option<Fact>,
    /// How a dispute stood when it was told.
    pub moment: Option<Moment>,
    /// For people: `evt_1 completed paid cs_1`.
    pub line: String,
}

/// What a message says of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It was sold, and perhaps paid.
    Sold {
        /// The money is there, or nothing was to pay.
        is_paid: bool,
    },
    /// This refund was in this state.
    Refund(String, RefundState),
    /// This dispute stood so.
    Dispute(String, DisputeState),
    /// There is this warning.
    Warning(String),
}

/// A moment in the life of a dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Its id.
    pub dispute: String,
    /// After so many changes.
    pub changes: usize,
}

/// How a message reaches us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Posted to the webhook.
    Webhook,
    /// Read from Stripe by ourselves.
    Reading,
    /// Done by the operator.
    Command,
}

/// What a message is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It tells of this source.
    Source(String),
    /// It tells of this learner's customer.
    Customer(String),
    /// It erases a learner.
    Erasure {
        /// Whom.
        learner: String,
        /// When, in Unix seconds.
        at: i64,
    },
    /// Nothing: there is a rule.
    Nothing,
}

/// What a source must give its learner in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose it is.
    pub learner: String,
    /// Of what.
    pub product: String,
    /// At which price.
    pub price: String,
    /// Through which session.
    pub session: String,
    /// When that was opened, in Unix seconds.
    pub opened_at: i64,
    /// What it came to, in cents: whatever the catalog says.
    pub amount: i64,
    /// What became of the payment.
    pub payment: Payment,
    /// When Stripe first said that the payment was processing, if it did; Unix seconds.
    pub processing_at: Option<i64>,
    /// When it first said that it had failed, if it did.
    pub failed_at: Option<i64>,
    /// And of the money after that.
    pub reversals: Reversals,
    /// Whether its learner was erased, then or later.
    pub is_erased: bool,
}

impl Held {
    /// Whether it opens what was sold, where a refund of so much of it, in percent, ends that.
    #[must_use]
    pub fn is_open(&self, refund_threshold: i64) -> bool {
        let refunded = self.reversals.refunded();
        matches!(self.payment, Payment::Paid { .. })
            && !self.is_erased
            && !self.reversals.is_disputed()
            && (refunded == 0 || refunded * 100 < refund_threshold * self.amount)
    }
}

/// A learner's customer at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// Its id.
    pub id: String,
    /// Whether it was deleted there.
    pub is_deleted: bool,
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// On its way.
    Processing,
    /// Refused.
    Failed,
    /// The money is there, or nothing was to pay; since the earliest time that Stripe has named.
    Paid {
        /// Unix seconds.
        since: i64,
    },
}

/// What Stripe knows of one session.
#[derive(Debug, Clone)]
struct Purchase {
    session: Session,
    /// The payment, once the buyer has done their part.
    payment: Option<Payment>,
    /// When money began to move; none where nothing was to pay.
    charged: Option<i64>,
    /// When a bank debit was made; none for a card.
    processing_at: Option<i64>,
    /// When the bank refused it.
    failed_at: Option<i64>,
}

/// Stripe, as far as one shop sells through it.
#[derive(Debug, Clone, Default)]
pub struct Stripe {
    prefix: String,
    now: i64,
    purchases: Vec<Purchase>,
    refunds: Vec<RefundRecord>,
    disputes: Vec<DisputeRecord>,
    warnings: Vec<WarningRecord>,
    customers: BTreeMap<String, Customer>,
    /// When each learner was erased last.
    erasures: BTreeMap<String, i64>,
    messages: Vec<Message>,
}

impl Stripe {
    /// A new account. Ids contain this prefix, so that many fit into one table; the clock starts at
    /// this time, in Unix seconds.
    #[must_use]
    pub fn new(prefix: &str, start: i64) -> Self {
        Self { prefix: prefix.to_owned(), now: start, ..Self::default() }
    }

    /// An account in which all of this has happened.
    #[must_use]
    pub fn after(actions: &[Action], prefix: &str, start: i64) -> Self {
        let mut stripe = Self::new(prefix, start);
        for action in actions {
            stripe.happen(*action);
        }
        stripe
    }

    /// What time it is there.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// All that Stripe has told so far, in its order.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// What each source must give, once all has been told.
    #[must_use]
    pub fn truth(&self) -> BTreeMap<String, Held> {
        let held = |(number, purchase): (usize, &Purchase)| {
            let session = &purchase.session;
            let erased_at = self.erasures.get(&session.learner);
            Some((
                purchase.source(),
                Held {
                    learner: session.learner.clone(),
                    product: session.product.clone(),
                    price: session.price.clone(),
                    session: session.id.clone(),
                    opened_at: session.created,
                    amount: session.amount_total,
                    payment: purchase.payment?,
                    processing_at: purchase.processing_at,
                    failed_at: purchase.failed_at,
                    reversals: self.reversals(number),
                    is_erased: erased_at.is_some_and(|at| session.created <= *at),
                },
            ))
        };
        self.purchases.iter().enumerate().filter_map(held).collect()
    }

    /// The customer that each learner has at Stripe, or had last.
    #[must_use]
    pub const fn customers(&self) -> &BTreeMap<String, Customer> {
        &self.customers
    }

    /// When each learner was erased last, in Unix seconds.
    #[must_use]
    pub const fn erasures(&self) -> &BTreeMap<String, i64> {
        &self.erasures
    }

    /// Lets this happen; says in words what did, or nothing if it can't happen now.
    pub fn happen(&mut self, action: Action) -> Option<String> {
        match action {
            Action::Open { learner, product } => Some(self.open(learner, product)),
            Action::Decline { session } => self.decline(session),
            Action::Card { session } => {
                let at = self.now;
                self.complete(session, "paid", Payment::Paid { since: at }, Some(at))
            }
            Action::Nothing { session } => {
                let paid = Payment::Paid { since: self.now };
                self.complete(session, "no_payment_required", paid, None)
            }
            Action::Debit { session } => {
                self.complete(session, "unpaid", Payment::Processing, Some(self.now))
            }
            Action::Settle { session } => {
                self.settle(session, Payment::Paid { since: self.now }, "succeeded")
            }
            Action::Refuse { session } => self.settle(session, Payment::Failed, "failed"),
            Action::Expire { session } => self.expire(session),
            Action::Read { session } => self.read(session),
            Action::Refund { session, parts, start } => self.refund(session, parts, start),
            Action::RefundArrives { refund } => self.refund_arrives(refund),
            Action::RefundIsCanceled { refund } => self.refund_is_canceled(refund),
            Action::RefundFails { refund } => self.refund_fails(refund),
            Action::Dispute { session, is_inquiry } => self.open_dispute(session, is_inquiry),
            Action::Escalate { dispute } => self.escalate(dispute),
            Action::CloseInquiry { dispute } => self.close_inquiry(dispute),
            Action::Evidence { dispute } => self.send_evidence(dispute),
            Action::MoveFunds { dispute } => self.move_funds(dispute),
            Action::Decide { dispute, verdict } => self.decide(dispute, verdict),
            Action::Warn { session } => self.warn(session),
            Action::DeleteCustomer { learner } => self.delete_customer(learner),
            Action::Erase { learner } => Some(self.erase(learner)),
            Action::Foreign { kind, is_garbled } => Some(self.foreign(kind, is_garbled)),
            Action::Repeat { event, later } => self.repeat(event, later),
            Action::Garble { event } => self.garble(event),
            Action::Stray { kind } => Some(self.stray(kind)),
            Action::Wait { seconds } => {
                self.now = self.now.saturating_add(i64::from(seconds));
                Some(format!("{seconds} seconds pass"))
            }
        }
    }

    fn id(&self, kind: &str, number: usize) -> String {
        format!("{kind}_{}{}", self.prefix, number.saturating_add(1))
    }

    fn open(&mut self, learner: u8, product: u8) -> String {
        let number = self.purchases.len();
        let learner = LEARNERS[usize::from(learner) % LEARNERS.len()];
        let product = PRODUCTS[usize::from(product) % PRODUCTS.len()];
        let session = Session {
            id: self.id("cs", number),
            status: "open",
            payment_status: "unpaid",
            payment_intent: Value::Null,
            mark: Some(MARK),
            learner: format!("{learner}{}", self.prefix),
            product: product.to_owned(),
            price: format!("{product}_paid"),
            // Each another, as after an edit of the catalog.
            amount_total: 2900 + i64::try_from(number).unwrap_or_default(),
            created: self.now,
        };
        let said = format!("{} opens {} for {}", session.learner, session.id, session.product);
        let customer = Customer { id: self.id("cus", number), is_deleted: false };
        let known = self.customers.entry(session.learner.clone()).or_insert(customer.clone());
        if known.is_deleted {
            *known = customer;
        }
        self.purchases.push(Purchase {
            session,
            payment: None,
            charged: None,
            processing_at: None,
            failed_at: None,
        });
        said
    }

    /// One of the purchases that are like this.
    fn pick(&self, number: u8, is: impl Fn(&Purchase) -> bool) -> Option<usize> {
        let fitting: Vec<usize> =
            (0..self.purchases.len()).filter(|index| is(&self.purchases[*index])).collect();
        (!fitting.is_empty()).then(|| fitting[usize::from(number) % fitting.len()])
    }

    fn pick_open(&self, number: u8) -> Option<usize> {
        self.pick(number, |purchase| purchase.session.status == "open")
    }

    fn decline(&mut self, number: u8) -> Option<String> {
        let index = self.pick_open(number)?;
        let said = format!("a card is declined for {}", self.purchases[index].session.id);
        // Stripe tells it of the payment, which says nothing of a session.
        let object = json!({ "id": self.id("pi", index), "object": "payment_intent" });
        self.tell("payment_intent.payment_failed", &object, Effect::Nothing);
        Some(said)
    }

    fn complete(
        &mut self,
        number: u8,
        payment_status: &'static str,
        payment: Payment,
        charged: Option<i64>,
    ) -> Option<String> {
        let index = self.pick_open(number)?;
        let payment_intent = charged.map(|_| self.id("pi", index));
        let processing_at = (payment == Payment::Processing).then_some(self.now);
        let purchase = &mut self.purchases[index];
        purchase.processing_at = processing_at;
        purchase.session.status = "complete";
        purchase.session.payment_status = payment_status;
        purchase.session.payment_intent = json!(payment_intent);
        if charged.is_none() {
            purchase.session.amount_total = 0;
        }
        purchase.payment = Some(payment);
        purchase.charged = charged;
        Some(self.tell_of(index, "completed"))
    }

    /// The operator's command runs now; its writes may reach the table later, or more than once.
    fn erase(&mut self, learner: u8) -> String {
        let learner = LEARNERS[usize::from(learner) % LEARNERS.len()];
        let learner = format!("{learner}{}", self.prefix);
        let at = self.now;
        self.erasures.insert(learner.clone(), at);
        let line = format!("erasure of {learner} @{at}");
        let said = format!("the operator erases {learner} @{at}");
        self.messages.push(Message {
            door: Door::Command,
            body: Value::Null,
            garbled: None,
            effect: Effect::Erasure { learner, at },
            fact: None,
            moment: None,
            line,
        });
        said
    }

    fn settle(&mut self, number: u8, payment: Payment, how: &str) -> Option<String> {
        let is_waiting = |purchase: &Purchase| purchase.payment == Some(Payment::Processing);
        let index = self.pick(number, is_waiting)?;
        let failed_at = (payment == Payment::Failed).then_some(self.now);
        let purchase = &mut self.purchases[index];
        purchase.failed_at = failed_at;
        if matches!(payment, Payment::Paid { .. }) {
            purchase.session.payment_status = "paid";
        }
        purchase.payment = Some(payment);
        Some(self.tell_of(index, &format!("async_payment_{how}")))
    }

    fn expire(&mut self, number: u8) -> Option<String> {
        let index = self.pick_open(number)?;
        self.purchases[index].session.status = "expired";
        Some(self.tell_of(index, "expired"))
    }

    fn tell_of(&mut self, index: usize, kind: &str) -> String {
        let purchase = &self.purchases[index];
        let (session, effect) = (purchase.session.json(), purchase.effect());
        let fact = purchase.fact();
        self.tell_fact(&format!("checkout.session.{kind}"), &session, effect, fact)
    }

    fn tell_fact(
        &mut self,
        kind: &str,
        object: &Value,
        effect: Effect,
        fact: Option<Fact>,
    ) -> String {
        let said = self.tell(kind, object, effect);
        if let Some(message) = self.messages.last_mut() {
            message.fact = fact;
        }
        said
    }

    fn tell(&mut self, kind: &str, object: &Value, effect: Effect) -> String {
        let id = self.id("evt", self.messages.len());
        let body = event(&id, kind, self.now, object);
        let line = line_of(&body);
        let said = format!("Stripe tells {line}");
        let door = Door::Webhook;
        let (garbled, fact, moment) = (None, None, None);
        self.messages.push(Message { door, body, garbled, effect, fact, moment, line });
        said
    }

    /// What the API answers, with the payment's latest charge expanded. It tells no earlier time
    /// than the events do.
    fn read(&mut self, number: u8) -> Option<String> {
        let index = self.pick(number, |_| true)?;
        let purchase = &self.purchases[index];
        let mut session = purchase.session.clone();
        if let (Some(charged), Some(payment)) = (purchase.charged, purchase.payment) {
            session.payment_intent = json!({
                "id": session.payment_intent,
                "object": "payment_intent",
                "status": match payment {
                    Payment::Processing => "processing",
                    Payment::Failed => "requires_payment_method",
                    Payment::Paid { .. } => "succeeded",
                },
                "latest_charge": {
                    "id": "ch_1",
                    "object": "charge",
                    "created": charged,
                    "payment_method_details": {
                        "type": if purchase.processing_at.is_some() { "sepa_debit" } else { "card" },
                    },
                },
            });
        }
        let line = format!("{} as it was read", session.id);
        let said = format!("{} comes back, and {} is read", session.learner, session.id);
        self.messages.push(Message {
            door: Door::Reading,
            body: session.json(),
            garbled: None,
            effect: purchase.effect(),
            fact: purchase.fact(),
            moment: None,
            line,
        });
        Some(said)
    }

    /// One of the events so far that tell of something of ours.
    fn pick_event(&self, number: u8) -> Option<usize> {
        let is_event =
            |message: &Message| message.door == Door::Webhook && message.effect != Effect::Nothing;
        let events: Vec<usize> =
            (0..self.messages.len()).filter(|index| is_event(&self.messages[*index])).collect();
        (!events.is_empty()).then(|| events[usize::from(number) % events.len()])
    }

    fn repeat(&mut self, number: u8, later: bool) -> Option<String> {
        let first = self.messages[self.pick_event(number)?].clone();
        let mut body = first.body;
        body["id"] = self.id("evt", self.messages.len()).into();
        if let Some(created) = body["created"].as_i64().filter(|_| later) {
            body["created"] = created.saturating_add(1).into();
        }
        let line = line_of(&body);
        let said = format!("Stripe tells the same again as {line}");
        self.messages.push(Message { body, garbled: None, line, ..first });
        Some(said)
    }

    fn garble(&mut self, number: u8) -> Option<String> {
        let index = self.pick_event(number)?;
        let message = &mut self.messages[index];
        message.garbled = Some(garbled(&message.body));
        Some(format!("Stripe also tells {} in a way that can't be read", message.line))
    }

    /// An event that changes nothing, whatever it says.
    fn stray(&mut self, kind: u8) -> String {
        let whose = STRAYS[usize::from(kind) % STRAYS.len()];
        let session = Session {
            id: self.id("cs_stray", self.messages.len()),
            status: "complete",
            payment_status: "paid",
            payment_intent: self.id("pi_stray", self.messages.len()).into(),
            mark: match whose {
                "another shop's" => Some(OTHER_MARK),
                "without a mark" => None,
                _ => Some(MARK),
            },
            learner: format!("{}{}", LEARNERS[0], self.prefix),
            product: PRODUCTS[0].to_owned(),
            price: "stray".to_owned(),
            amount_total: 2900,
            created: self.now,
        };
        let is_unknown = whose == "of a type that nothing depends on";
        let completed = "checkout.session.completed";
        let kind = if is_unknown { "payment_intent.succeeded" } else { completed };
        let said = self.tell(kind, &session.json(), Effect::Nothing);
        if let Some(message) = self.messages.last_mut() {
            message.body["livemode"] = (whose == "of live mode").into();
            message.body["account"] =
                json!((whose == "of a connected account").then_some("acct_other"));
        }
        format!("{said}, {whose}")
    }
}

impl Purchase {
    /// Under which id its facts are kept.
    fn source(&self) -> String {
        match self.session.payment_intent.as_str() {
            Some(payment_intent) => payment_intent.to_owned(),
            None => self.session.id.clone(),
        }
    }

    fn fact(&self) -> Option<Fact> {
        let is_paid = matches!(self.payment?, Payment::Paid { .. });
        Some(Fact::Sold { is_paid })
    }

    fn effect(&self) -> Effect {
        match self.payment {
            Some(_) => Effect::Source(self.source()),
            None => Effect::Nothing,
        }
    }
}

/// The same event in a shape that can't be read.
fn garbled(event: &Value) -> Value {
    let mut garbled = event.clone();
    let object = &mut garbled["data"]["object"];
    let needed = ["payment_status", "status", "id"].into_iter().find(|it| object[*it].is_string());
    object[needed.unwrap_or("id")] = "of another age".into();
    garbled
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// `evt_1 checkout.session.completed paid cs_1 @1000`
fn line_of(event: &Value) -> String {
    let object = &event["data"]["object"];
    let status =
        ["payment_status", "status"].into_iter().map(|it| &object[it]).find(|it| it.is_string());
    let (id, kind) = (&event["id"], &event["type"]);
    let actions = [Some(id), Some(kind), status, object.get("id"), object.get("payment_intent")];
    let actions: Vec<&str> = actions.into_iter().flatten().filter_map(Value::as_str).collect();
    format!("{} @{}", actions.join(" "), event["created"])
}
