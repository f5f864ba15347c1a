//! Seeded pseudorandom numbers.

use std::ops::RangeInclusive;

use simulation::random::SplitMix64;

/// A sequence of them.
#[derive(Debug, Clone)]
pub struct Random(SplitMix64);

impl Random {
    /// Each seed and purpose has its own sequence, so that one part's draws don't affect the
    /// others.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        let first = |seed| SplitMix64::new(seed).next();
        let fold = |state: u64, byte: u8| first(state ^ u64::from(byte));
        Self(SplitMix64::new(purpose.bytes().fold(first(seed), fold)))
    }

    /// One of these.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = range.into_inner();
        first + self.0.next() % (last - first + 1)
    }

    /// A number below this one, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        let last = u64::try_from(end).unwrap() - 1;
        usize::try_from(self.within(0..=last)).unwrap()
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.0.next().to_le_bytes()[0]
    }

    /// True with this probability, in percent.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.within(1..=100) <= percent
    }

    /// One of these; there is at least one.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
