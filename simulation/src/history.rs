//! Histories of events: what happens at Stripe, and how its events reach the webhook.

use std::sync::Arc;

use proptest::prelude::{Strategy, any};
use proptest::{collection, prop_oneof};

use crate::invariant::Violation;
use crate::mutant::Mutant;
use crate::oracle::{Action, Stripe};
use crate::run::Run;
use crate::search::Generated;
use crate::world::{FAULTS, Fault, Stage, Tally};

/// When a history begins, in Unix seconds.
const START: i64 = 1_800_000_000;
/// The number of concurrent functions.
const INSTANCES: usize = 3;
const ACTIONS_MAX: usize = 20;
const AFTERMATH_MAX: usize = 7;
const OPEN: Action = Action::Open { learner: 0, product: 0 };
const PAY: Action = Action::Card { session: 0 };
const DISPUTE: Action = Action::Dispute { session: 0, is_inquiry: false };
const STEPS_MAX: usize = 100;
/// A function yields about nine times from start to response.
const PAUSES_MAX: u8 = 9;

/// The scheduler's next step. A number picks one of the candidates for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Gives an idle instance one of the messages that were not acknowledged yet.
    Start(u8),
    /// The same, and runs it to its response.
    Deliver(u8),
    /// Gives an idle instance any of the messages.
    Again(u8),
    /// Resumes a busy instance for this many steps.
    Go(u8, u8),
    /// Resumes a busy instance that is about to make a call this fault applies to, with that fault.
    Fail(u8, Fault),
    /// Kills a busy instance.
    Crash(u8),
    /// Advances the clock, in seconds.
    Pass(u16),
    /// Sets an instance's clock wrong by this many minutes.
    Skew(u8, i8),
    /// Deletes the record of an event.
    Forget(u8),
    /// Rolls the signing secret, one step.
    Roll,
}

/// What happens at Stripe, and then the deliveries and faults on our side.
#[derive(Debug, Clone)]
pub struct History {
    /// At Stripe.
    pub actions: Vec<Action>,
    /// On our side.
    pub steps: Vec<Step>,
}

/// The actions to draw from, in a shop where most things happen.
fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![16 => selling(), 3 => refunding(), 3 => disputing(), 6 => message()]
}

fn selling() -> impl Strategy<Value = Action> {
    let session = || any::<u8>();
    prop_oneof![
        5 => (0..3_u8, 0..2_u8).prop_map(|(learner, product)| Action::Open { learner, product }),
        4 => session().prop_map(|session| Action::Card { session }),
        3 => session().prop_map(|session| Action::Debit { session }),
        2 => session().prop_map(|session| Action::Settle { session }),
        1 => session().prop_map(|session| Action::Refuse { session }),
        1 => session().prop_map(|session| Action::Nothing { session }),
        1 => session().prop_map(|session| Action::Decline { session }),
        1 => session().prop_map(|session| Action::Expire { session }),
        1 => (0..3_u8).prop_map(|learner| Action::DeleteCustomer { learner }),
    ]
}

fn refunding() -> impl Strategy<Value = Action> {
    let number = || any::<u8>();
    prop_oneof![
        6 => (number(), 1..4_u8, number())
            .prop_map(|(session, parts, start)| Action::Refund { session, parts, start }),
        2 => number().prop_map(|refund| Action::RefundArrives { refund }),
        1 => number().prop_map(|refund| Action::RefundIsCanceled { refund }),
        3 => number().prop_map(|refund| Action::RefundFails { refund }),
    ]
}

fn disputing() -> impl Strategy<Value = Action> {
    let number = || any::<u8>();
    prop_oneof![
        6 => (number(), any::<bool>())
            .prop_map(|(session, is_inquiry)| Action::Dispute { session, is_inquiry }),
        2 => number().prop_map(|dispute| Action::Escalate { dispute }),
        1 => number().prop_map(|dispute| Action::CloseInquiry { dispute }),
        1 => number().prop_map(|dispute| Action::Evidence { dispute }),
        2 => number().prop_map(|dispute| Action::MoveFunds { dispute }),
        6 => (number(), number())
            .prop_map(|(dispute, verdict)| Action::Decide { dispute, verdict }),
        1 => number().prop_map(|session| Action::Warn { session }),
    ]
}

fn message() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => any::<u8>().prop_map(|session| Action::Read { session }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(event, later)| Action::Repeat { event, later }),
        1 => any::<u8>().prop_map(|event| Action::Garble { event }),
        1 => (0..5_u8).prop_map(|kind| Action::Stray { kind }),
        1 => (0..5_u8, any::<bool>())
            .prop_map(|(kind, is_garbled)| Action::Foreign { kind, is_garbled }),
        2 => (0..7_200_u16).prop_map(|seconds| Action::Wait { seconds }),
    ]
}

/// A learner has paid, and the payment is refunded and disputed in many ways.
fn refunds() -> impl Strategy<Value = Vec<Action>> {
    let actions = prop_oneof![2 => selling(), 8 => refunding(), 1 => disputing(), 2 => message()];
    collection::vec(actions, 1..=AFTERMATH_MAX)
        .prop_map(|actions| [OPEN, PAY].into_iter().chain(actions).collect())
}

/// A learner has paid, a bank disputes it, and its verdicts contradict each other.
fn verdicts() -> impl Strategy<Value = Vec<Action>> {
    let decide = (any::<u8>(), any::<u8>());
    let decide = decide.prop_map(|(dispute, verdict)| Action::Decide { dispute, verdict });
    let actions = prop_oneof![8 => decide, 2 => disputing(), 1 => message()];
    collection::vec(actions, 2..=AFTERMATH_MAX)
        .prop_map(|actions| [OPEN, PAY, DISPUTE].into_iter().chain(actions).collect())
}

/// A learner buys, is erased and buys again, and some of Stripe's events arrive late.
fn erasures() -> impl Strategy<Value = Vec<Action>> {
    let erase = (0..2_u8).prop_map(|learner| Action::Erase { learner });
    let buy = (0..2_u8, 0..2_u8).prop_map(|(learner, product)| Action::Open { learner, product });
    let wait = (0..2_u16).prop_map(|seconds| Action::Wait { seconds });
    let actions = prop_oneof![
        3 => erase,
        3 => buy,
        2 => wait,
        6 => selling(),
        2 => refunding(),
        2 => disputing(),
        2 => message(),
    ];
    collection::vec(actions, 2..=ACTIONS_MAX).prop_map(|actions| [vec![OPEN], actions].concat())
}

fn steps() -> impl Strategy<Value = Step> {
    let fault = proptest::sample::select(&FAULTS);
    prop_oneof![
        30 => (any::<u8>(), 1..=PAUSES_MAX).prop_map(|(instance, steps)| Step::Go(instance, steps)),
        20 => any::<u8>().prop_map(Step::Start),
        10 => any::<u8>().prop_map(Step::Deliver),
        5 => any::<u8>().prop_map(Step::Again),
        16 => (any::<u8>(), fault).prop_map(|(instance, fault)| Step::Fail(instance, fault)),
        2 => any::<u8>().prop_map(Step::Crash),
        2 => (0..900_u16).prop_map(Step::Pass),
        1 => (any::<u8>(), -10..=10_i8).prop_map(|(instance, minutes)| Step::Skew(instance, minutes)),
        1 => any::<u8>().prop_map(Step::Forget),
        1 => proptest::strategy::Just(Step::Roll),
    ]
}

impl Generated for History {
    type Mutant = Mutant;
    const COMMAND: &'static str = "cargo xtask simulate";

    fn strategy() -> impl Strategy<Value = Self> {
        let anything = collection::vec(actions(), 1..=ACTIONS_MAX);
        let actions = prop_oneof![3 => anything, 1 => refunds(), 2 => verdicts(), 1 => erasures()];
        (actions, collection::vec(steps(), 0..=STEPS_MAX))
            .prop_map(|(actions, steps)| Self { actions, steps })
    }

    fn play(&self, mutant: Option<Mutant>) -> Result<Tally, Violation> {
        let mut run = self.begin(mutant);
        self.step(&mut run)?;
        Ok(run.tally())
    }

    fn trace(&self, mutant: Option<Mutant>) -> Vec<String> {
        let mut stripe = Stripe::new("", START);
        let mut trace: Vec<String> =
            self.actions.iter().filter_map(|action| stripe.happen(*action)).collect();
        let mut run = self.begin(mutant);
        run.trace = Some(Vec::new());
        let ended = self.step(&mut run);
        trace.extend(run.trace.unwrap_or_default());
        trace.extend(ended.err().map(|violation| format!("BROKEN: {violation}")));
        trace
    }

    fn parts(&self) -> usize {
        self.actions.len() + self.steps.len()
    }

    fn without(&self, part: usize) -> Self {
        let mut rest = self.clone();
        if part < self.actions.len() {
            rest.actions.remove(part);
        } else {
            rest.steps.remove(part - self.actions.len());
        }
        rest
    }
}

impl History {
    fn begin(&self, mutant: Option<Mutant>) -> Run {
        let stripe = Arc::new(Stripe::after(&self.actions, "", START));
        let run = Run::new(&stripe, INSTANCES).with_torn_reads();
        match mutant {
            Some(mutant) => run.with(mutant),
            None => run,
        }
    }

    fn step(&self, run: &mut Run) -> Result<(), Violation> {
        if run.deliveries() == 0 {
            return Ok(());
        }
        for step in &self.steps {
            take(run, *step)?;
        }
        run.finish()
    }
}

fn take(run: &mut Run, step: Step) -> Result<(), Violation> {
    let busy: Vec<(usize, Stage)> = run.busy().collect();
    let pick = |number: u8, can: &dyn Fn(Stage) -> bool| {
        let fitting = busy.iter().filter(|(_, stage)| can(*stage)).collect::<Vec<_>>();
        (!fitting.is_empty()).then(|| fitting[usize::from(number) % fitting.len()].0)
    };
    match step {
        Step::Start(number) | Step::Deliver(number) => {
            let waiting: Vec<usize> = run.waiting().collect();
            if let Some(instance) = run.idle().filter(|_| !waiting.is_empty()) {
                run.start(waiting[usize::from(number) % waiting.len()]);
                if matches!(step, Step::Deliver(_)) {
                    run.finish_delivery(instance)?;
                }
            }
        }
        Step::Again(number) => run.start(usize::from(number) % run.deliveries()),
        Step::Go(number, steps) => {
            if let Some(instance) = pick(number, &|_| true) {
                for _ in 0..steps {
                    run.resume(instance, None)?;
                }
            }
        }
        Step::Fail(number, fault) => {
            if let Some(instance) = pick(number, &|stage| fault.can_happen(stage)) {
                run.resume(instance, Some(fault))?;
            }
        }
        Step::Crash(number) => {
            if let Some(instance) = pick(number, &|_| true) {
                run.crash(instance);
            }
        }
        Step::Pass(seconds) => run.pass(i64::from(seconds)),
        Step::Skew(number, minutes) => {
            run.skew(usize::from(number) % INSTANCES, i64::from(minutes) * 60);
        }
        Step::Forget(number) => run.forget(usize::from(number)),
        Step::Roll => run.roll(),
    }
    Ok(())
}
