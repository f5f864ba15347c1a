//! People who buy: checkout's own code, several requests at once, with a Stripe that opens, closes
//! and remembers sessions, in an order that is chosen step by step.
//!
//! Two tabs, two prices of one product, the site and a link at once; a slow Stripe, a lost answer,
//! a function killed anywhere, an event that arrives in between or never. After each step there is
//! at most one session that can be paid for a learner and a product, and one payment; and in the
//! end everybody can buy what they don't have.

mod door;
mod run;
mod stripe;
mod world;

use proptest::prelude::{Strategy, any};
use proptest::{collection, prop_oneof};

pub use door::{TROUBLES, Trouble};
pub use world::Mutant;

use crate::invariant::Violation;
use crate::search::Generated;
use crate::world::Tally;
use run::Run;

const STEPS_MAX: usize = 120;
/// From its start to its answer a request stands still some thirty times.
const PAUSES_MAX: u8 = 30;

/// What happens next. A number picks one of those to which it can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A learner asks to buy at a price, signed in or by a link.
    Ask {
        /// Who.
        learner: u8,
        /// At which price.
        price: u8,
        /// Whether by a link.
        is_by_link: bool,
    },
    /// A learner comes back from Stripe, and a session of theirs is confirmed.
    Confirm(u8),
    /// Lets a request go on, so many steps.
    Go(u8, u8),
    /// Lets one go on, and what it asks for next goes wrong.
    Fail(u8, Trouble),
    /// Kills the function that answers a request.
    Kill(u8),
    /// A buyer pays a session that they were sent to: by card, or by a debit that is on its way.
    Pay {
        /// Which.
        session: u8,
        /// Whether by debit.
        is_debit: bool,
    },
    /// The bank pays a debit, or refuses it.
    Settle {
        /// Which.
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
        /// Which.
        session: u8,
        /// Whether for the shop.
        is_won: bool,
    },
    /// One of Stripe's events reaches the webhook.
    Deliver(u8),
    /// Lets time pass, in seconds.
    Pass(u32),
    /// The author changes a price.
    Reprice(u8),
}

/// What happens, step by step.
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
        10 => (number(), proptest::sample::select(&TROUBLES))
            .prop_map(|(request, trouble)| Step::Fail(request, trouble)),
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

    fn story(&self, mutant: Option<Mutant>) -> Vec<String> {
        let mut run = Run::new(mutant);
        run.story = Some(Vec::new());
        let ended = self.step(&mut run);
        let mut story = run.story.unwrap_or_default();
        story.extend(ended.err().map(|violation| format!("BROKEN: {violation}")));
        story
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
