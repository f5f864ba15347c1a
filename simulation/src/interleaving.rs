//! Every way in which a few functions can get in each other's way, as far as the bounds reach.
//!
//! Not a model of the code but the code itself, run once for each order of the points at which one
//! function can notice another: when it is given something, when it reads the table, when it asks
//! Stripe, when it commits, and when it is ended between its commit and its answer. What lies
//! between these points concerns nobody else, and is not put in other orders.

use std::sync::Arc;

use crate::invariant::Violation;
use crate::mutant::Mutant;
use crate::oracle::Stripe;
use crate::run::Run;
use crate::world::{FAULTS, Fault, Stage, Tally};

/// How far to look.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many functions run at once.
    pub instances: usize,
    /// How much goes wrong in one run: ends of functions and faults of the table.
    pub troubles: usize,
}

/// What can come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start(usize),
    Go(usize),
    Fail(usize, Fault),
    Crash(usize),
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Explored {
    /// How many runs there are.
    pub runs: u64,
    /// What happened in all of them.
    pub tally: Tally,
}

/// An order of steps that breaks an invariant.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The invariant.
    pub violation: Violation,
    /// What happened, in words.
    pub story: Vec<String>,
}

/// What is told.
#[derive(Debug, Clone, Copy)]
pub struct Parcels<'a> {
    /// First these, one after the other.
    pub first: &'a [usize],
    /// Then these, in every order; a number that is listed twice is delivered twice. What is left
    /// comes at the end.
    pub then: &'a [usize],
}

/// Runs every order in which these parcels can reach the functions.
pub fn explore(
    stripe: &Arc<Stripe>,
    parcels: Parcels<'_>,
    bounds: Bounds,
    mutant: Option<Mutant>,
) -> Result<Explored, Box<Broken>> {
    let mut explored = Explored::default();
    // What was chosen at each step, and of how many.
    let mut path: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut run = Run::new(stripe, bounds.instances);
        run = match mutant {
            Some(mutant) => run.with(mutant),
            None => run,
        };
        if let Err(violation) = walk(&mut run, parcels, bounds, &mut path) {
            return Err(Box::new(Broken { violation, story: tell(&run, parcels, bounds, &path) }));
        }
        explored.runs += 1;
        for (what, times) in run.tally() {
            *explored.tally.entry(what).or_default() += times;
        }
        // The next path: the last step that had another choice takes it.
        while path.pop_if(|(chosen, choices)| *chosen + 1 == *choices).is_some() {}
        match path.last_mut() {
            Some((chosen, _)) => *chosen += 1,
            None => return Ok(explored),
        }
    }
}

fn tell(
    broken: &Run,
    parcels: Parcels<'_>,
    bounds: Bounds,
    path: &[(usize, usize)],
) -> Vec<String> {
    let mut run = broken.again(bounds.instances);
    run.story = Some(Vec::new());
    // It ends as it did before.
    let _ = walk(&mut run, parcels, bounds, &mut path.to_vec());
    run.story.unwrap_or_default()
}

/// Goes along the path, and where it ends, on by each first choice.
fn walk(
    run: &mut Run,
    parcels: Parcels<'_>,
    bounds: Bounds,
    path: &mut Vec<(usize, usize)>,
) -> Result<(), Violation> {
    for parcel in parcels.first {
        run.start(*parcel);
        run.go_on(0)?;
    }
    let mut waiting = parcels.then.to_vec();
    let mut troubles = bounds.troubles;
    for depth in 0.. {
        hurry(run, &mut waiting, troubles)?;
        let steps = steps(run, &waiting, troubles);
        if steps.is_empty() {
            break;
        }
        if depth == path.len() {
            path.push((0, steps.len()));
        }
        let step = steps[path[depth].0];
        troubles -= usize::from(matches!(step, Step::Fail(..) | Step::Crash(_)));
        take(run, step, &mut waiting)?;
    }
    run.finish()
}

/// Takes the steps that concern nobody else.
fn hurry(run: &mut Run, waiting: &mut Vec<usize>, troubles: usize) -> Result<(), Violation> {
    let is_private = |stage| match stage {
        Stage::Started
        | Stage::AskingForSecret
        | Stage::Read
        | Stage::StripeAnswered
        | Stage::Sleeping => true,
        Stage::Answered => troubles == 0,
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

fn steps(run: &Run, waiting: &[usize], troubles: usize) -> Vec<Step> {
    // Whether it is ended between its commit and its answer is settled at once.
    if let Some((instance, _)) = run.busy().find(|(_, stage)| *stage == Stage::Answered) {
        return vec![Step::Go(instance), Step::Crash(instance)];
    }
    let mut steps = Vec::new();
    for (instance, stage) in run.busy() {
        steps.push(Step::Go(instance));
        if troubles > 0 {
            let faults = FAULTS.into_iter().filter(|fault| fault.can_happen(stage));
            steps.extend(faults.map(|fault| Step::Fail(instance, fault)));
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
        Step::Start(parcel) => {
            run.start(parcel);
            if let Some(place) = waiting.iter().position(|it| *it == parcel) {
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
    waiting.extend(comes_again.filter(|it| !it.is_acknowledged).map(|it| it.parcel));
    Ok(())
}
