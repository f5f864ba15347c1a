//! Generates histories from a seed, and shrinks one that breaks an invariant.

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::Strategy;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::invariant::Violation;
use crate::random::SplitMix64;
use crate::world::Tally;

/// A history that can be generated, played, and shrunk.
pub trait Generated: Clone + Debug + Send {
    /// The mutants that apply to it.
    type Mutant: Copy + Debug + Send + Sync;
    /// The command that plays it again, without its seed and number.
    const COMMAND: &'static str;

    /// The strategy that generates such histories.
    fn strategy() -> impl Strategy<Value = Self>;

    /// Plays it, with this mutant if there is one. Returns how often each thing happened, or the
    /// broken invariant.
    fn play(&self, mutant: Option<Self::Mutant>) -> Result<Tally, Violation>;

    /// Its steps, described.
    fn trace(&self, mutant: Option<Self::Mutant>) -> Vec<String>;

    /// The number of parts that can be removed.
    fn parts(&self) -> usize;

    /// The same without this part.
    #[must_use]
    fn without(&self, part: usize) -> Self;
}

/// A history that breaks an invariant.
#[derive(Debug, Clone)]
pub struct Counterexample<H: Generated> {
    /// The seed of the whole run.
    pub seed: u64,
    /// Its number.
    pub number: u64,
    /// The shortest history that still breaks an invariant.
    pub shortest: H,
    /// With this mutant.
    pub mutant: Option<H::Mutant>,
    /// The invariant.
    pub violation: Violation,
}

impl<H: Generated> fmt::Display for Counterexample<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, number, violation, .. } = self;
        writeln!(f, "history {number} of seed {seed} breaks an invariant:\n  {violation}")?;
        writeln!(f, "the shortest such history:")?;
        for line in self.shortest.trace(self.mutant) {
            writeln!(f, "  {line}")?;
        }
        if let Some(mutant) = self.mutant {
            return write!(f, "with the mutant {mutant:?}");
        }
        write!(f, "to repeat it: {} --seed {seed} --history {number}", H::COMMAND)
    }
}

/// The history of this number.
#[must_use]
pub fn history<H: Generated>(seed: u64, number: u64) -> H {
    tree::<H>(seed, number).current()
}

fn tree<H: Generated>(seed: u64, number: u64) -> impl ValueTree<Value = H> {
    let mut bytes = [0; 16];
    // Neighboring numbers must give unrelated histories.
    let start = SplitMix64::new(seed).next() ^ number;
    bytes[..8].copy_from_slice(&SplitMix64::new(start).next().to_le_bytes());
    bytes[8..].copy_from_slice(&SplitMix64::new(!start).next().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    H::strategy().new_tree(&mut runner).unwrap()
}

/// Plays the history of this number, and shrinks it if it breaks an invariant.
pub fn play<H: Generated>(
    seed: u64,
    number: u64,
    mutant: Option<H::Mutant>,
) -> Result<Tally, Box<Counterexample<H>>> {
    let mut tree = tree::<H>(seed, number);
    let first = tree.current();
    let violation = match first.play(mutant) {
        Ok(tally) => return Ok(tally),
        Err(violation) => violation,
    };
    let mut shortest = Shortest { history: first, violation, mutant };
    let mut is_going_on = tree.simplify();
    while is_going_on {
        is_going_on =
            if shortest.is_broken_by(tree.current()) { tree.simplify() } else { tree.complicate() };
    }
    // Removing one part may make another one removable.
    while shortest.remove_a_part() {}
    let Shortest { history, violation, .. } = shortest;
    Err(Box::new(Counterexample { seed, number, shortest: history, mutant, violation }))
}

/// The shortest history so far that breaks an invariant.
struct Shortest<H: Generated> {
    history: H,
    violation: Violation,
    mutant: Option<H::Mutant>,
}

impl<H: Generated> Shortest<H> {
    /// Whether this one breaks an invariant too; then it becomes the shortest.
    fn is_broken_by(&mut self, candidate: H) -> bool {
        match candidate.play(self.mutant) {
            Ok(_) => false,
            Err(violation) => {
                (self.history, self.violation) = (candidate, violation);
                true
            }
        }
    }

    fn remove_a_part(&mut self) -> bool {
        let before = self.history.parts();
        for part in (0..before).rev() {
            let candidate = self.history.without(part);
            self.is_broken_by(candidate);
        }
        before != self.history.parts()
    }
}

/// Plays this many histories on all cores, with this mutant if there is one. The same seed plays
/// the same ones on any machine.
pub fn play_all<H: Generated>(
    seed: u64,
    count: u64,
    mutant: Option<H::Mutant>,
) -> Result<Tally, Box<Counterexample<H>>> {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut tally = Tally::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(tally);
            }
            match play::<H>(seed, number, mutant) {
                Ok(more) => add(&mut tally, more),
                Err(broken) => {
                    next.store(count, Ordering::Relaxed);
                    return Err(broken);
                }
            }
        }
    };
    let results: Vec<Result<Tally, Box<Counterexample<H>>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut tally = Tally::new();
    let mut first: Option<Box<Counterexample<H>>> = None;
    for result in results {
        match result {
            Ok(more) => add(&mut tally, more),
            Err(broken) => {
                let is_earlier = first.as_ref().is_none_or(|it| broken.number < it.number);
                first = if is_earlier { Some(broken) } else { first };
            }
        }
    }
    first.map_or(Ok(tally), Err)
}

fn add(tally: &mut Tally, more: Tally) {
    for (what, times) in more {
        *tally.entry(what).or_default() += times;
    }
}
