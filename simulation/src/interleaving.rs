//! Explores every interleaving of a few functions, within bounds.
//!
//! This is model checking of the real code, not of a model of it: the code runs once for each order
//! of the points at which one function can notice another, that is, when it gets a delivery, reads
//! the table, calls Stripe, commits, or is killed between its commit and its response. The steps
//! between these points affect nobody else, so their order is not varied.

use std::sync::Arc;

use crate::invariant::Violation;
use crate::mutant::Mutant;
use crate::oracle::Stripe;
use crate::run::Run;
use crate::world::{FAULTS, Fault, Stage, Tally};

/// The bounds of an exploration.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The number of concurrent functions.
    pub instances: usize,
    /// The number of faults in one run: killed functions and failing calls.
    pub faults: usize,
}

/// A possible next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start(usize),
    Go(usize),
    Fail(usize, Fault),
    Crash(usize),
}

/// The result of an exploration.
#[derive(Debug, Clone, Default)]
pub struct Explored {
    /// The number of runs.
    pub runs: u64,
    /// How often each thing happened in all of them.
    pub tally: Tally,
}

/// An order of steps that breaks an invariant.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// The invariant.
    pub violation: Violation,
    /// The steps that led to it.
    pub trace: Vec<String>,
}

/// The deliveries to explore.
#[derive(Debug, Clone, Copy)]
pub struct Deliveries<'a> {
    /// First these, one after the other.
    pub first: &'a [usize],
    /// Then these, in every order; a number that is listed twice is delivered twice. The rest comes
    /// at the end.
    pub then: &'a [usize],
}

/// Runs every order in which these deliveries can reach the functions.
pub fn explore(
    stripe: &Arc<Stripe>,
    deliveries: Deliveries<'_>,
    bounds: Bounds,
    mutant: Option<Mutant>,
) -> Result<Explored, Box<Counterexample>> {
    let mut explored = Explored::default();
    // The choice at each step, and the number of choices.
    let mut path: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut run = Run::new(stripe, bounds.instances);
        run = match mutant {
            Some(mutant) => run.with(mutant),
            None => run,
        };
        if let Err(violation) = walk(&mut run, deliveries, bounds, &mut path) {
            return Err(Box::new(Counterexample {
                violation,
                trace: tell(&run, deliveries, bounds, &path),
            }));
        }
        explored.runs += 1;
        for (what, times) in run.tally() {
            *explored.tally.entry(what).or_default() += times;
        }
        // The next path: changes the last step that has another choice.
        while path.pop_if(|(chosen, choices)| *chosen + 1 == *choices).is_some() {}
        match path.last_mut() {
            Some((chosen, _)) => *chosen += 1,
            None => return Ok(explored),
        }
    }
}

fn tell(
    broken: &Run,
    deliveries: Deliveries<'_>,
    bounds: Bounds,
    path: &[(usize, usize)],
) -> Vec<String> {
    let mut run = broken.again(bounds.instances);
    run.trace = Some(Vec::new());
    // It ends as it did before.
    let _ = walk(&mut run, deliveries, bounds, &mut path.to_vec());
    run.trace.unwrap_or_default()
}

/// Follows the path, and takes each first choice after its end.
fn walk(
    run: &mut Run,
    deliveries: Deliveries<'_>,
    bounds: Bounds,
    path: &mut Vec<(usize, usize)>,
) -> Result<(), Violation> {
    for delivery in deliveries.first {
        run.start(*delivery);
        run.finish_delivery(0)?;
    }
    let mut waiting = deliveries.then.to_vec();
    let mut faults = bounds.faults;
    for depth in 0.. {
        take_private_steps(run, &mut waiting, faults)?;
        let steps = steps(run, &waiting, faults);
        if steps.is_empty() {
            break;
        }
        if depth == path.len() {
            path.push((0, steps.len()));
        }
        let step = steps[path[depth].0];
        faults -= usize::from(matches!(step, Step::Fail(..) | Step::Crash(_)));
        take(run, step, &mut waiting)?;
    }
    run.finish()
}

/// Takes the steps that affect no other function.
fn take_private_steps(
    run: &mut Run,
    waiting: &mut Vec<usize>,
    faults: usize,
) -> Result<(), Violation> {
    let is_private = |stage| match stage {
        Stage::Started
        | Stage::AskingForSecret
        | Stage::Read
        | Stage::StripeAnswered
        | Stage::Sleeping => true,
        Stage::Answered => faults == 0,
        Stage::Reading | Stage::Scanning | Stage::AskingStripe | Stage::Committing => false,
    };
    loop {
        let next = run.busy().find(|(_, stage)| is_private(*stage));
        match next {
            Some((instance, _)) => take(run, Step::Go(instance), waiting)?,
            None => return Ok(()),
        }
    }
}

fn steps(run: &Run, waiting: &[usize], faults: usize) -> Vec<Step> {
    // Decides at once whether it is killed between its commit and its response.
    if let Some((instance, _)) = run.busy().find(|(_, stage)| *stage == Stage::Answered) {
        return vec![Step::Go(instance), Step::Crash(instance)];
    }
    let mut steps = Vec::new();
    for (instance, stage) in run.busy() {
        steps.push(Step::Go(instance));
        if faults > 0 {
            let possible = FAULTS.into_iter().filter(|fault| fault.can_happen(stage));
            steps.extend(possible.map(|fault| Step::Fail(instance, fault)));
            steps.extend((stage == Stage::Committing).then_some(Step::Crash(instance)));
        }
    }
    if run.idle().is_some() {
        let mut distinct = waiting.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        steps.extend(distinct.into_iter().map(Step::Start));
    }
    steps
}

fn take(run: &mut Run, step: Step, waiting: &mut Vec<usize>) -> Result<(), Violation> {
    let comes_again = match step {
        Step::Start(delivery) => {
            run.start(delivery);
            if let Some(place) = waiting.iter().position(|it| *it == delivery) {
                waiting.remove(place);
            }
            None
        }
        Step::Go(instance) => run.resume(instance, None)?,
        Step::Fail(instance, fault) => run.resume(instance, Some(fault))?,
        Step::Crash(instance) => {
            waiting.extend(run.crash(instance));
            None
        }
    };
    waiting.extend(comes_again.filter(|it| !it.is_acknowledged).map(|it| it.delivery));
    Ok(())
}
