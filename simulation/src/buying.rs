//! Simulates learners buying: checkout's own code, several requests at once, and a Stripe that
//! opens, closes and remembers sessions, interleaved step by step by a scheduler.
//!
//! Covers two tabs, two prices of one product, the site and a link at once, a slow Stripe, a lost
//! response, a function killed anywhere, and an event that arrives in between or never. After each
//! step a learner has at most one session to pay and one payment for a product; in the end
//! everybody can buy what they don't own.

mod ports;
mod run;
mod stripe;
mod world;

use proptest::prelude::{Strategy, any};
use proptest::{collection, prop_oneof};

pub use ports::{FAULTS, Fault};
pub use world::Mutant;

use crate::invariant::Violation;
use crate::search::Generated;
use crate::world::Tally;
use run::Run;

const STEPS_MAX: usize = 120;
/// A request yields some thirty times from start to response.
const PAUSES_MAX: u8 = 30;

/// The next step. A number picks one of the candidates for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A learner asks to buy at a price, signed in or by a link.
    Ask {
        /// The learner.
        learner: u8,
        /// The price.
        price: u8,
        /// Whether by a link.
        is_by_link: bool,
    },
    /// A learner returns from Stripe, and one of their sessions is confirmed.
    Confirm(u8),
    /// Resumes a request for this many steps.
    Go(u8, u8),
    /// Resumes a request, and its next call fails.
    Fail(u8, Fault),
    /// Kills the function that handles a request.
    Kill(u8),
    /// A buyer pays a session they were sent to: by card, or by a bank debit that is processing.
    Pay {
        /// The session.
        session: u8,
        /// Whether by bank debit.
        is_debit: bool,
    },
    /// The bank pays or declines a debit.
    Settle {
        /// The debit.
        session: u8,
        /// Whether it is paid.
        is_paid: bool,
    },
    /// A payment is refunded.
    Refund(u8),
    /// A payment is disputed.
    Dispute(u8),
    /// A dispute is decided.
    Decide {
        /// The dispute.
        session: u8,
        /// Whether the shop wins.
        is_won: bool,
    },
    /// One of Stripe's events reaches the webhook.
    Deliver(u8),
    /// Advances the clock, in seconds.
    Pass(u32),
    /// The author changes a price.
    Reprice(u8),
}

/// The steps of a history.
#[derive(Debug, Clone)]
pub struct Buying {
    /// In this order.
    pub steps: Vec<Step>,
}

fn step() -> impl Strategy<Value = Step> {
    let number = any::<u8>;
    let seconds = prop_oneof![6 => 0..60_u32, 2 => 0..4_000_u32, 1 => 0..100_000_u32];
    let requests = prop_oneof![
        16 => (0..2_u8, 0..3_u8, proptest::bool::weighted(0.25)).prop_map(
            |(learner, price, is_by_link)| Step::Ask { learner, price, is_by_link }
        ),
        3 => number().prop_map(Step::Confirm),
        40 => (number(), 1..=PAUSES_MAX).prop_map(|(request, steps)| Step::Go(request, steps)),
        10 => (number(), proptest::sample::select(&FAULTS))
            .prop_map(|(request, fault)| Step::Fail(request, fault)),
        3 => number().prop_map(Step::Kill),
    ];
    let payments = prop_oneof![
        8 => (number(), proptest::bool::weighted(0.3))
            .prop_map(|(session, is_debit)| Step::Pay { session, is_debit }),
        3 => (number(), any::<bool>())
            .prop_map(|(session, is_paid)| Step::Settle { session, is_paid }),
        2 => number().prop_map(Step::Refund),
        2 => number().prop_map(Step::Dispute),
        2 => (number(), any::<bool>())
            .prop_map(|(session, is_won)| Step::Decide { session, is_won }),
    ];
    prop_oneof![
        72 => requests,
        17 => payments,
        5 => number().prop_map(Step::Deliver),
        6 => seconds.prop_map(Step::Pass),
        1 => number().prop_map(Step::Reprice),
    ]
}

impl Generated for Buying {
    type Mutant = Mutant;
    const COMMAND: &'static str = "cargo xtask simulate --buying";

    fn strategy() -> impl Strategy<Value = Self> {
        collection::vec(step(), 1..=STEPS_MAX).prop_map(|steps| Self { steps })
    }

    fn play(&self, mutant: Option<Mutant>) -> Result<Tally, Violation> {
        let mut run = Run::new(mutant);
        self.step(&mut run)?;
        Ok(run.tally())
    }

    fn trace(&self, mutant: Option<Mutant>) -> Vec<String> {
        let mut run = Run::new(mutant);
        run.trace = Some(Vec::new());
        let ended = self.step(&mut run);
        let mut trace = run.trace.unwrap_or_default();
        trace.extend(ended.err().map(|violation| format!("BROKEN: {violation}")));
        trace
    }

    fn parts(&self) -> usize {
        self.steps.len()
    }

    fn without(&self, part: usize) -> Self {
        let mut rest = self.clone();
        rest.steps.remove(part);
        rest
    }
}

impl Buying {
    fn step(&self, run: &mut Run) -> Result<(), Violation> {
        for step in &self.steps {
            run.take(*step)?;
        }
        run.finish()
    }
}
