//! Medians and ratios, in integers.

use serde::Serialize;

/// Repeated measurements.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<u64>);

/// A summary of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Samples {
    pub(crate) fn push(&mut self, sample: u64) {
        self.0.push(sample);
    }

    /// `None` without samples. Of an even number, the median is the mean of the two in the middle.
    pub(crate) fn figure(&self) -> Option<Figure> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted.len() / 2;
        let lower = (sorted.len() - 1) / 2;
        Some(Figure { median: sorted[lower].midpoint(sorted[upper]), min, max })
    }
}

/// A ratio in hundredths, rounded. `None` if there is nothing to compare with.
pub(crate) fn ratio(of: u64, to: u64) -> Option<u64> {
    (to > 0).then(|| (of * 100 + to / 2) / to)
}

/// Formats hundredths: `2.51`.
pub(crate) fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// A quotient with one decimal: `decimal(1_250, 1_000)` is `1.3`.
pub(crate) fn decimal(value: u64, unit: u64) -> String {
    let tenths = (value * 10 + unit / 2) / unit;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_whatever_the_order() {
        for (samples, expected) in [
            (&[][..], None),
            (&[7], Some((7, 7, 7))),
            (&[3, 1], Some((2, 1, 3))),
            (&[9, 1, 5], Some((5, 1, 9))),
            (&[1_000, 2, 4, 1], Some((3, 1, 1_000))),
        ] {
            let mut all = Samples::default();
            for sample in samples {
                all.push(*sample);
            }
            let figure = all.figure().map(|it| (it.median, it.min, it.max));
            assert_eq!(figure, expected, "{samples:?}");
        }
    }

    #[test]
    fn ratios_and_decimals_are_rounded() {
        assert_eq!(ratio(5, 2).map(hundredths).as_deref(), Some("2.50"));
        assert_eq!(ratio(2, 3).map(hundredths).as_deref(), Some("0.67"));
        assert_eq!(ratio(2, 0), None);
        assert_eq!(decimal(1_250, 1_000), "1.3");
        assert_eq!(decimal(1_999, 1_000), "2.0");
        assert_eq!(decimal(49, 1_000), "0.0");
    }
}
