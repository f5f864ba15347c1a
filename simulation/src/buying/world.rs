//! The state that all requests share, and its invariants.

use std::collections::BTreeMap;

use shared::domain::catalog::{Catalog, Category, Course, Price, Product, PublishedCatalog};
use shared::domain::money::Money;

use super::ports::Fault;
use super::stripe::{Payment, Session, Stripe};
use crate::invariant::Violation;
use crate::memory::Contents;
use crate::world::Tally;

/// The courses of each product. The second is a bundle that contains the first one's course.
pub(super) const PRODUCTS: [(&str, &[&str]); 2] =
    [("tutor", &["tutor"]), ("all", &["tutor", "memory"])];

/// Each price and its product: one product is sold in two currencies.
pub(super) const PRICES: [(&str, &str); 3] =
    [("tutor_usd", "tutor"), ("tutor_eur", "tutor"), ("all_usd", "all")];

/// A mutant: a deliberate defect, to check that the invariants catch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Attempts are not stored.
    AttemptsForgotten,
    /// An attempt is replaced although its session was recorded after the attempt was read.
    SessionsOverlooked,
    /// Sessions are not expired before others are opened.
    ExpiryPretended,
    /// A new customer is recorded although another was recorded since it was read.
    CustomersOverwritten,
    /// Sessions are returned without being recorded.
    RecordingPretended,
}

/// A call that takes effect after its caller has given up.
type Late = Box<dyn FnOnce(&mut World) + Send>;

/// The state that all requests share.
pub(super) struct World {
    pub(super) contents: Contents,
    pub(super) catalog: PublishedCatalog,
    pub(super) stripe: Stripe,
    pub(super) now: i64,
    pub(super) mutant: Option<Mutant>,
    /// The fault of the next call; none again once it has happened.
    pub(super) fault: Option<Fault>,
    /// Calls that take effect after their callers have given up.
    pub(super) late: Vec<Late>,
    pub(super) tally: Tally,
}

/// A learner's status for a product, as far as Stripe knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    ForSale,
    Entitled,
    Processing,
    Disputed,
}

impl World {
    pub(super) fn new(now: i64, mutant: Option<Mutant>) -> Self {
        Self {
            contents: Contents::default(),
            catalog: catalog(),
            stripe: Stripe::default(),
            now,
            mutant,
            fault: None,
            late: Vec::new(),
            tally: Tally::new(),
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// The pending fault, if it is one of these.
    pub(super) fn take_fault(&mut self, possible: &[Fault]) -> Option<Fault> {
        let met = self.fault.take_if(|fault| possible.contains(fault));
        match met {
            Some(Fault::Unreachable) => self.count("not reached"),
            Some(Fault::AnswerLost) => self.count("done, and the response lost"),
            Some(Fault::DoneLate) => self.count("done late"),
            Some(Fault::StripeBreaks) => self.count("Stripe broke"),
            Some(Fault::Conflict) => self.count("a transaction was writing the same item"),
            None => {}
        }
        met
    }

    /// Runs the calls whose callers have given up.
    pub(super) fn catch_up(&mut self) {
        for late in std::mem::take(&mut self.late) {
            late(self);
        }
    }

    /// Replaces Stripe's price under this name.
    pub(super) fn reprice(&mut self, price: usize) {
        let (key, _) = PRICES[price];
        self.catalog.version += 1;
        let version = self.catalog.version;
        let stripe_price = format!("price_{key}_{version}").parse().unwrap();
        self.catalog.stripe_prices.insert(key.parse().unwrap(), stripe_price);
        self.count("price changed");
    }

    fn of<'a>(&'a self, learner: &str, product: &str) -> impl Iterator<Item = &'a Session> {
        let sessions = self.stripe.sessions.iter();
        sessions.filter(move |it| it.learner == learner && it.product == product)
    }

    /// Whether Stripe has a payment of this learner's for this product, or may get one.
    pub(super) fn is_sold(&self, learner: &str, product: &str) -> bool {
        self.of(learner, product).any(|session| session.payment.is_some_and(Payment::is_money))
    }

    /// A learner has at most one session to pay, and at most one payment, for a product, and at most
    /// one customer.
    pub(super) fn check(&self) -> Result<(), Violation> {
        let (mut pairs, mut customers) = (BTreeMap::new(), BTreeMap::new());
        for session in &self.stripe.sessions {
            if let Some(customer) = &session.customer {
                let first = *customers.entry(&session.learner).or_insert(customer);
                if first != customer {
                    let what = format!("{} has {first} and {customer}", session.learner);
                    return Err(Violation { invariant: "a learner has one customer", what });
                }
            }
            let of = (&session.learner, &session.product);
            let (payable, paid): &mut (Vec<&str>, Vec<&str>) = pairs.entry(of).or_default();
            if session.is_payable() {
                payable.push(&session.id);
            }
            if session.payment.is_some_and(Payment::is_money) {
                paid.push(&session.id);
            }
        }
        for ((learner, product), (payable, paid)) in pairs {
            if paid.len() > 1 {
                let what = format!("{learner} paid for {product} by {paid:?}");
                return Err(Violation { invariant: "nothing is sold twice", what });
            }
            if payable.len() > 1 {
                let what = format!("{learner} can pay for {product} by {payable:?}");
                return Err(Violation { invariant: "there is at most one session to pay", what });
            }
        }
        Ok(())
    }

    /// This learner's status for this product, as far as Stripe knows.
    pub(super) fn truth(&self, learner: &str, product: &str) -> Truth {
        let stands = |course: &str| {
            let payments: Vec<Payment> = PRODUCTS
                .iter()
                .filter(|(_, courses)| courses.contains(&course))
                .flat_map(|(product, _)| self.of(learner, product))
                .filter_map(|session| session.payment)
                .collect();
            if payments.iter().any(|it| matches!(it, Payment::Paid | Payment::Won)) {
                Truth::Entitled
            } else if payments.contains(&Payment::Processing) {
                Truth::Processing
            } else if payments.contains(&Payment::Disputed) {
                Truth::Disputed
            } else {
                Truth::ForSale
            }
        };
        let (_, courses) = PRODUCTS.iter().find(|(id, _)| *id == product).unwrap();
        let all: Vec<Truth> = courses.iter().map(|course| stands(course)).collect();
        if all.iter().all(|it| *it == Truth::Entitled) {
            Truth::Entitled
        } else if all.contains(&Truth::Disputed) {
            Truth::Disputed
        } else if all.contains(&Truth::ForSale) {
            Truth::ForSale
        } else {
            Truth::Processing
        }
    }
}

fn catalog() -> PublishedCatalog {
    let course = |id: &str| Course {
        id: id.parse().unwrap(),
        title: id.to_owned(),
        summary: String::new(),
        category: Category::Alacarte,
        chapters: vec!["One".to_owned()],
        free_chapters: 0,
    };
    let products = PRODUCTS.map(|(id, courses)| Product {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        courses: courses.iter().map(|id| id.parse().unwrap()).collect(),
    });
    let prices = PRICES.map(|(key, product)| Price {
        key: key.parse().unwrap(),
        product: product.parse().unwrap(),
        money: Money { amount_minor: 2900, currency: key[key.len() - 3..].parse().unwrap() },
    });
    let stripe_prices = PRICES
        .map(|(key, _)| (key.parse().unwrap(), format!("price_{key}_1").parse().unwrap()))
        .into();
    let courses = vec![course("tutor"), course("memory")];
    let catalog = Catalog::new(courses, products.to_vec(), prices.to_vec()).unwrap();
    PublishedCatalog { catalog, stripe_prices, version: 1 }
}
