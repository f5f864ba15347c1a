//! The oracle, Stripe's side: what learners did, which events Stripe sends, and who must have
//! access in the end.
//!
//! It is a small model that shares no code with what it checks. A history is a list of [`Action`]s.
//! Each is possible in every state, or else does nothing, so any list is a valid history, even one
//! that actions were removed from. To simulate something new, add an action.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::rendering::{MARK, OTHER_MARK, Session, event};

pub use reversal::{Dispute, DisputeState, Refund, RefundState, Reversals};

mod reversal;

use reversal::{DisputeRecord, RefundRecord, WarningRecord};

/// The learners.
const LEARNERS: [&str; 3] = ["ada", "bob", "eve"];
/// The products.
pub(crate) const PRODUCTS: [&str; 2] = ["tutorclaw", "curriculum"];
/// The kinds of events that don't concern us.
const IRRELEVANT: [&str; 5] = [
    "of a type that nothing depends on",
    "another shop's",
    "of live mode",
    "of a connected account",
    "without a mark",
];

/// Something that happens at Stripe. A number picks one of the candidates for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A learner asks for a product, and a session is opened, possibly a second one.
    Open {
        /// The learner.
        learner: u8,
        /// The product.
        product: u8,
    },
    /// A card is declined; the session stays open.
    Decline {
        /// The open session.
        session: u8,
    },
    /// A card pays.
    Card {
        /// The open session.
        session: u8,
    },
    /// A discount leaves nothing to pay.
    Nothing {
        /// The open session.
        session: u8,
    },
    /// A bank debit starts.
    Debit {
        /// The open session.
        session: u8,
    },
    /// The bank pays a debit.
    Settle {
        /// The processing debit.
        session: u8,
    },
    /// The bank declines a debit.
    Refuse {
        /// The processing debit.
        session: u8,
    },
    /// A session expires.
    Expire {
        /// The open session.
        session: u8,
    },
    /// The learner returns from Stripe, and we read their session.
    Read {
        /// The session.
        session: u8,
    },
    /// A succeeded payment is refunded.
    Refund {
        /// The payment.
        session: u8,
        /// The divisor of the amount: 1 is a full refund. Never more than is left.
        parts: u8,
        /// Its first status: pending, requires action, or succeeded.
        start: u8,
    },
    /// A refund succeeds.
    RefundArrives {
        /// The pending refund.
        refund: u8,
    },
    /// A refund is canceled.
    RefundIsCanceled {
        /// The pending refund.
        refund: u8,
    },
    /// A refund fails, possibly after it had succeeded.
    RefundFails {
        /// The pending or succeeded refund.
        refund: u8,
    },
    /// A bank disputes a payment.
    Dispute {
        /// The payment.
        session: u8,
        /// Whether it is only an inquiry.
        is_inquiry: bool,
    },
    /// An inquiry becomes a dispute.
    Escalate {
        /// The inquiry.
        dispute: u8,
    },
    /// The bank closes an inquiry.
    CloseInquiry {
        /// The inquiry.
        dispute: u8,
    },
    /// The shop submits evidence.
    Evidence {
        /// The inquiry or open dispute.
        dispute: u8,
    },
    /// Stripe reports the movement of a dispute's funds.
    MoveFunds {
        /// The dispute.
        dispute: u8,
    },
    /// A dispute or an appeal is decided, a verdict is reversed, or a lost dispute is appealed.
    Decide {
        /// The dispute.
        dispute: u8,
        /// Won, lost, prevented or, for a lost one, appealed.
        verdict: u8,
    },
    /// Stripe sends an early fraud warning.
    Warn {
        /// The payment.
        session: u8,
    },
    /// A learner's customer is deleted at Stripe.
    DeleteCustomer {
        /// The learner.
        learner: u8,
    },
    /// The operator erases a learner.
    Erase {
        /// The learner.
        learner: u8,
    },
    /// Stripe sends an event about another shop in the same account.
    Foreign {
        /// The kind of event.
        kind: u8,
        /// Whether a garbled copy is delivered as well.
        is_garbled: bool,
    },
    /// Stripe reports a change again, in another event.
    Repeat {
        /// The event.
        event: u8,
        /// Whether it is created a second later.
        later: bool,
    },
    /// Stripe also delivers a garbled copy of an event.
    Garble {
        /// The event.
        event: u8,
    },
    /// Stripe sends an event that doesn't concern us.
    Stray {
        /// The kind of event.
        kind: u8,
    },
    /// Time passes.
    Wait {
        /// How many seconds.
        seconds: u16,
    },
}

/// A message from Stripe, and how it reaches us.
#[derive(Debug, Clone)]
pub struct Message {
    /// An event, or a session that we have read.
    pub route: Route,
    /// The JSON: the event, or the session.
    pub body: Value,
    /// A garbled copy of the same event, if one is delivered.
    pub garbled: Option<Value>,
    /// Its source, customer or learner.
    pub effect: Effect,
    /// The change that it reports.
    pub fact: Option<Fact>,
    /// The dispute's status at that time.
    pub dispute_version: Option<DisputeVersion>,
    /// For people: `evt_1 completed paid cs_1`.
    pub line: String,
}

/// What a message reports about its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It was sold, and perhaps paid.
    Sold {
        /// Whether it is paid, or needed no payment.
        is_paid: bool,
    },
    /// This refund was in this state.
    Refund(String, RefundState),
    /// This dispute had this status.
    Dispute(String, DisputeState),
    /// This warning exists.
    Warning(String),
}

/// A dispute at a point in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputeVersion {
    /// Its id.
    pub dispute: String,
    /// After this many changes.
    pub changes: usize,
}

/// How a message reaches us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Posted to the webhook.
    Webhook,
    /// Read from Stripe by us.
    Reading,
    /// A command of the operator's.
    Command,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A source.
    Source(String),
    /// A learner's customer.
    Customer(String),
    /// The erasure of a learner.
    Erasure {
        /// The learner.
        learner: String,
        /// When, in Unix seconds.
        at: i64,
    },
    /// Nothing of ours: a rule says to ignore it.
    Nothing,
}

/// The access that a source must give in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
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
    /// The amount paid, in cents, whatever the catalog says.
    pub amount: i64,
    /// The payment's outcome.
    pub payment: Payment,
    /// When Stripe first reported that the payment was processing, if it did; Unix seconds.
    pub processing_at: Option<i64>,
    /// When Stripe first reported that it had failed, if it did.
    pub failed_at: Option<i64>,
    /// What happened to the money afterwards.
    pub reversals: Reversals,
    /// Whether the learner was erased at that time or later.
    pub is_erased: bool,
}

impl SourceState {
    /// Whether it opens its product, if refunds of at least this percentage end access.
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

/// A payment's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// A bank debit that isn't settled yet.
    Processing,
    /// Declined by the bank.
    Failed,
    /// Paid, or nothing to pay, at the earliest time that Stripe has reported.
    Paid {
        /// Unix seconds.
        since: i64,
    },
}

/// A session, as Stripe knows it.
#[derive(Debug, Clone)]
struct Purchase {
    session: Session,
    /// The payment, once the buyer has done their part.
    payment: Option<Payment>,
    /// When the payment started; none if there was nothing to pay.
    charged: Option<i64>,
    /// When a bank debit was made; none for a card.
    processing_at: Option<i64>,
    /// When the bank declined it.
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
    /// When each learner was last erased.
    erasures: BTreeMap<String, i64>,
    messages: Vec<Message>,
}

impl Stripe {
    /// A new account. Ids contain this prefix, so that several accounts fit into one table. The
    /// clock starts at this time, in Unix seconds.
    #[must_use]
    pub fn new(prefix: &str, start: i64) -> Self {
        Self { prefix: prefix.to_owned(), now: start, ..Self::default() }
    }

    /// An account in which these actions have happened.
    #[must_use]
    pub fn after(actions: &[Action], prefix: &str, start: i64) -> Self {
        let mut stripe = Self::new(prefix, start);
        for action in actions {
            stripe.happen(*action);
        }
        stripe
    }

    /// The current time there.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// Every message so far, in Stripe's order.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The access that each source must give once everything is delivered.
    #[must_use]
    pub fn truth(&self) -> BTreeMap<String, SourceState> {
        let held = |(number, purchase): (usize, &Purchase)| {
            let session = &purchase.session;
            let erased_at = self.erasures.get(&session.learner);
            Some((
                purchase.source(),
                SourceState {
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

    /// Each learner's current or last customer at Stripe.
    #[must_use]
    pub const fn customers(&self) -> &BTreeMap<String, Customer> {
        &self.customers
    }

    /// When each learner was last erased, in Unix seconds.
    #[must_use]
    pub const fn erasures(&self) -> &BTreeMap<String, i64> {
        &self.erasures
    }

    /// Performs an action. Returns a description, or nothing if it isn't possible now.
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
            Action::Stray { kind } => Some(self.send_irrelevant(kind)),
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
            // Each sale has another amount, as after an edit of the catalog.
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

    /// One of the purchases that match.
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
        // Stripe also sends an event about the payment, which names no session.
        let object = json!({ "id": self.id("pi", index), "object": "payment_intent" });
        self.send("payment_intent.payment_failed", &object, Effect::Nothing);
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
        Some(self.report(index, "completed"))
    }

    /// The operator's command runs now. Its writes may reach the table later, or more than once.
    fn erase(&mut self, learner: u8) -> String {
        let learner = LEARNERS[usize::from(learner) % LEARNERS.len()];
        let learner = format!("{learner}{}", self.prefix);
        let at = self.now;
        self.erasures.insert(learner.clone(), at);
        let line = format!("erasure of {learner} @{at}");
        let said = format!("the operator erases {learner} @{at}");
        self.messages.push(Message {
            route: Route::Command,
            body: Value::Null,
            garbled: None,
            effect: Effect::Erasure { learner, at },
            fact: None,
            dispute_version: None,
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
        Some(self.report(index, &format!("async_payment_{how}")))
    }

    fn expire(&mut self, number: u8) -> Option<String> {
        let index = self.pick_open(number)?;
        self.purchases[index].session.status = "expired";
        Some(self.report(index, "expired"))
    }

    fn report(&mut self, index: usize, kind: &str) -> String {
        let purchase = &self.purchases[index];
        let (session, effect) = (purchase.session.json(), purchase.effect());
        let fact = purchase.fact();
        self.report_fact(&format!("checkout.session.{kind}"), &session, effect, fact)
    }

    fn report_fact(
        &mut self,
        kind: &str,
        object: &Value,
        effect: Effect,
        fact: Option<Fact>,
    ) -> String {
        let said = self.send(kind, object, effect);
        if let Some(message) = self.messages.last_mut() {
            message.fact = fact;
        }
        said
    }

    fn send(&mut self, kind: &str, object: &Value, effect: Effect) -> String {
        let id = self.id("evt", self.messages.len());
        let body = event(&id, kind, self.now, object);
        let line = line_of(&body);
        let said = format!("Stripe sends {line}");
        let route = Route::Webhook;
        let (garbled, fact, dispute_version) = (None, None, None);
        self.messages.push(Message { route, body, garbled, effect, fact, dispute_version, line });
        said
    }

    /// The API's response, with the payment's latest charge expanded. It contains no time earlier
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
        let said = format!("{} returns, and {} is read", session.learner, session.id);
        self.messages.push(Message {
            route: Route::Reading,
            body: session.json(),
            garbled: None,
            effect: purchase.effect(),
            fact: purchase.fact(),
            dispute_version: None,
            line,
        });
        Some(said)
    }

    /// One of the events so far about our own objects.
    fn pick_event(&self, number: u8) -> Option<usize> {
        let is_event = |message: &Message| {
            message.route == Route::Webhook && message.effect != Effect::Nothing
        };
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
        let said = format!("Stripe sends the same again as {line}");
        self.messages.push(Message { body, garbled: None, line, ..first });
        Some(said)
    }

    fn garble(&mut self, number: u8) -> Option<String> {
        let index = self.pick_event(number)?;
        let message = &mut self.messages[index];
        message.garbled = Some(garbled(&message.body));
        Some(format!("Stripe also sends {} garbled", message.line))
    }

    /// An event that changes nothing, whatever it contains.
    fn send_irrelevant(&mut self, kind: u8) -> String {
        let whose = IRRELEVANT[usize::from(kind) % IRRELEVANT.len()];
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
        let said = self.send(kind, &session.json(), Effect::Nothing);
        if let Some(message) = self.messages.last_mut() {
            message.body["livemode"] = (whose == "of live mode").into();
            message.body["account"] =
                json!((whose == "of a connected account").then_some("acct_other"));
        }
        format!("{said}, {whose}")
    }
}

impl Purchase {
    /// The id that its facts are stored under.
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

/// A garbled copy of the same event.
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
