//! Histories of events: what happens at Stripe, and how its events reach the webhook.

use std::sync::Arc;

use proptest::prelude::{Strategy, any};
use proptest::{collection, prop_oneof};

use crate::flaw::Flaw;
use crate::law::Violation;
use crate::oracle::{Stripe, Word};
use crate::run::Run;
use crate::search::Generated;
use crate::world::{FAULTS, Fault, Stage, Tally};

/// When a history begins, in Unix seconds.
const START: i64 = 1_800_000_000;
/// How many functions run at once.
const INSTANCES: usize = 3;
const WORDS_MAX: usize = 20;
const AFTERMATH_MAX: usize = 7;
const OPEN: Word = Word::Open { learner: 0, product: 0 };
const PAY: Word = Word::Card { session: 0 };
const DISPUTE: Word = Word::Dispute { session: 0, is_inquiry: false };
const TURNS_MAX: usize = 100;
/// From its start to its answer a function stands still about nine times.
const STEPS_MAX: u8 = 9;

/// What the scheduler does next. A number picks one of those to which it can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Gives an idle instance one of the tellings that were not acknowledged yet.
    Start(u8),
    /// The same, and it goes on to its answer.
    Deliver(u8),
    /// Gives an idle instance one of all tellings.
    Again(u8),
    /// Lets a busy instance go on, so many steps.
    Go(u8, u8),
    /// Lets one go on that stands where this can go wrong, and it does.
    Fail(u8, Fault),
    /// Ends a busy instance.
    Crash(u8),
    /// Lets time pass, in seconds.
    Pass(u16),
    /// An instance's clock is wrong by so many minutes.
    Skew(u8, i8),
    /// Deletes the record of an event.
    Forget(u8),
    /// Rolls the signing secret, one step.
    Roll,
}

/// What happens at Stripe, and then the order in which we hear of it, and what goes wrong.
#[derive(Debug, Clone)]
pub struct History {
    /// At Stripe.
    pub words: Vec<Word>,
    /// With us.
    pub turns: Vec<Turn>,
}

/// What may happen, in a shop where most things do.
fn words() -> impl Strategy<Value = Word> {
    prop_oneof![16 => selling(), 3 => refunding(), 3 => disputing(), 6 => telling()]
}

fn selling() -> impl Strategy<Value = Word> {
    let session = || any::<u8>();
    prop_oneof![
        5 => (0..3_u8, 0..2_u8).prop_map(|(learner, product)| Word::Open { learner, product }),
        4 => session().prop_map(|session| Word::Card { session }),
        3 => session().prop_map(|session| Word::Debit { session }),
        2 => session().prop_map(|session| Word::Settle { session }),
        1 => session().prop_map(|session| Word::Refuse { session }),
        1 => session().prop_map(|session| Word::Nothing { session }),
        1 => session().prop_map(|session| Word::Decline { session }),
        1 => session().prop_map(|session| Word::Expire { session }),
        1 => (0..3_u8).prop_map(|learner| Word::DeleteCustomer { learner }),
    ]
}

fn refunding() -> impl Strategy<Value = Word> {
    let number = || any::<u8>();
    prop_oneof![
        6 => (number(), 1..4_u8, number())
            .prop_map(|(session, parts, start)| Word::Refund { session, parts, start }),
        2 => number().prop_map(|refund| Word::RefundArrives { refund }),
        1 => number().prop_map(|refund| Word::RefundIsCanceled { refund }),
        3 => number().prop_map(|refund| Word::RefundFails { refund }),
    ]
}

fn disputing() -> impl Strategy<Value = Word> {
    let number = || any::<u8>();
    prop_oneof![
        6 => (number(), any::<bool>())
            .prop_map(|(session, is_inquiry)| Word::Dispute { session, is_inquiry }),
        2 => number().prop_map(|dispute| Word::Escalate { dispute }),
        1 => number().prop_map(|dispute| Word::CloseInquiry { dispute }),
        1 => number().prop_map(|dispute| Word::Evidence { dispute }),
        2 => number().prop_map(|dispute| Word::MoveFunds { dispute }),
        6 => (number(), number())
            .prop_map(|(dispute, verdict)| Word::Decide { dispute, verdict }),
        1 => number().prop_map(|session| Word::Warn { session }),
    ]
}

fn telling() -> impl Strategy<Value = Word> {
    prop_oneof![
        2 => any::<u8>().prop_map(|session| Word::Read { session }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(event, later)| Word::Repeat { event, later }),
        1 => any::<u8>().prop_map(|event| Word::Garble { event }),
        1 => (0..5_u8).prop_map(|kind| Word::Stray { kind }),
        1 => (0..5_u8, any::<bool>())
            .prop_map(|(kind, is_garbled)| Word::Foreign { kind, is_garbled }),
        2 => (0..7_200_u16).prop_map(|seconds| Word::Wait { seconds }),
    ]
}

/// A learner has paid, and much becomes of the money.
fn refunds() -> impl Strategy<Value = Vec<Word>> {
    let words = prop_oneof![2 => selling(), 8 => refunding(), 1 => disputing(), 2 => telling()];
    collection::vec(words, 1..=AFTERMATH_MAX)
        .prop_map(|words| [OPEN, PAY].into_iter().chain(words).collect())
}

/// A learner has paid, a bank disputes it, and its verdicts contradict each other.
fn verdicts() -> impl Strategy<Value = Vec<Word>> {
    let decide = (any::<u8>(), any::<u8>());
    let decide = decide.prop_map(|(dispute, verdict)| Word::Decide { dispute, verdict });
    let words = prop_oneof![8 => decide, 2 => disputing(), 1 => telling()];
    collection::vec(words, 2..=AFTERMATH_MAX)
        .prop_map(|words| [OPEN, PAY, DISPUTE].into_iter().chain(words).collect())
}

/// A learner buys, is erased and buys again, and Stripe tells of some of it too late.
fn erasures() -> impl Strategy<Value = Vec<Word>> {
    let erase = (0..2_u8).prop_map(|learner| Word::Erase { learner });
    let buy = (0..2_u8, 0..2_u8).prop_map(|(learner, product)| Word::Open { learner, product });
    let wait = (0..2_u16).prop_map(|seconds| Word::Wait { seconds });
    let words = prop_oneof![
        3 => erase,
        3 => buy,
        2 => wait,
        6 => selling(),
        2 => refunding(),
        2 => disputing(),
        2 => telling(),
    ];
    collection::vec(words, 2..=WORDS_MAX).prop_map(|words| [vec![OPEN], words].concat())
}

fn turns() -> impl Strategy<Value = Turn> {
    let fault = proptest::sample::select(&FAULTS);
    prop_oneof![
        30 => (any::<u8>(), 1..=STEPS_MAX).prop_map(|(instance, steps)| Turn::Go(instance, steps)),
        20 => any::<u8>().prop_map(Turn::Start),
        10 => any::<u8>().prop_map(Turn::Deliver),
        5 => any::<u8>().prop_map(Turn::Again),
        16 => (any::<u8>(), fault).prop_map(|(instance, fault)| Turn::Fail(instance, fault)),
        2 => any::<u8>().prop_map(Turn::Crash),
        2 => (0..900_u16).prop_map(Turn::Pass),
        1 => (any::<u8>(), -10..=10_i8).prop_map(|(instance, minutes)| Turn::Skew(instance, minutes)),
        1 => any::<u8>().prop_map(Turn::Forget),
        1 => proptest::strategy::Just(Turn::Roll),
    ]
}

impl Generated for History {
    type Flaw = Flaw;
    const COMMAND: &'static str = "cargo xtask simulate";

    fn strategy() -> impl Strategy<Value = Self> {
        let anything = collection::vec(words(), 1..=WORDS_MAX);
        let words = prop_oneof![3 => anything, 1 => refunds(), 2 => verdicts(), 1 => erasures()];
        (words, collection::vec(turns(), 0..=TURNS_MAX))
            .prop_map(|(words, turns)| Self { words, turns })
    }

    fn play(&self, flaw: Option<Flaw>) -> Result<Tally, Violation> {
        let mut run = self.begin(flaw);
        self.turn(&mut run)?;
        Ok(run.tally())
    }

    fn story(&self, flaw: Option<Flaw>) -> Vec<String> {
        let mut stripe = Stripe::new("", START);
        let mut story: Vec<String> =
            self.words.iter().filter_map(|word| stripe.happen(*word)).collect();
        let mut run = self.begin(flaw);
        run.story = Some(Vec::new());
        let ended = self.turn(&mut run);
        story.extend(run.story.unwrap_or_default());
        story.extend(ended.err().map(|violation| format!("BROKEN: {violation}")));
        story
    }

    fn parts(&self) -> usize {
        self.words.len() + self.turns.len()
    }

    fn without(&self, part: usize) -> Self {
        let mut rest = self.clone();
        if part < self.words.len() {
            rest.words.remove(part);
        } else {
            rest.turns.remove(part - self.words.len());
        }
        rest
    }
}

impl History {
    fn begin(&self, flaw: Option<Flaw>) -> Run {
        let stripe = Arc::new(Stripe::after(&self.words, "", START));
        let run = Run::new(&stripe, INSTANCES).with_torn_reads();
        match flaw {
            Some(flaw) => run.with(flaw),
            None => run,
        }
    }

    fn turn(&self, run: &mut Run) -> Result<(), Violation> {
        if run.parcels() == 0 {
            return Ok(());
        }
        for turn in &self.turns {
            take(run, *turn)?;
        }
        run.finish()
    }
}

fn take(run: &mut Run, turn: Turn) -> Result<(), Violation> {
    let busy: Vec<(usize, Stage)> = run.busy().collect();
    let pick = |number: u8, can: &dyn Fn(Stage) -> bool| {
        let fitting = busy.iter().filter(|(_, stage)| can(*stage)).collect::<Vec<_>>();
        (!fitting.is_empty()).then(|| fitting[usize::from(number) % fitting.len()].0)
    };
    match turn {
        Turn::Start(number) | Turn::Deliver(number) => {
            let waiting: Vec<usize> = run.waiting().collect();
            if let Some(instance) = run.idle().filter(|_| !waiting.is_empty()) {
                run.start(waiting[usize::from(number) % waiting.len()]);
                if matches!(turn, Turn::Deliver(_)) {
                    run.go_on(instance)?;
                }
            }
        }
        Turn::Again(number) => run.start(usize::from(number) % run.parcels()),
        Turn::Go(number, steps) => {
            if let Some(instance) = pick(number, &|_| true) {
                for _ in 0..steps {
                    run.resume(instance, None)?;
                }
            }
        }
        Turn::Fail(number, fault) => {
            if let Some(instance) = pick(number, &|stage| fault.can_happen(stage)) {
                run.resume(instance, Some(fault))?;
            }
        }
        Turn::Crash(number) => {
            if let Some(instance) = pick(number, &|_| true) {
                run.crash(instance);
            }
        }
        Turn::Pass(seconds) => run.pass(i64::from(seconds)),
        Turn::Skew(number, minutes) => {
            run.skew(usize::from(number) % INSTANCES, i64::from(minutes) * 60);
        }
        Turn::Forget(number) => run.forget(usize::from(number)),
        Turn::Roll => run.roll(),
    }
    Ok(())
}
