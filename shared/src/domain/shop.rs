//! Which objects in a Stripe account are a deployment's own. Other deployments may sell in the same
//! account, and so may other software.

use super::decide::Mode;
use super::id::DeploymentMark;

/// A deployment as Stripe's objects name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shop {
    /// Whether it sells in test mode or for money.
    pub mode: Mode,
    /// The mark in the metadata of everything that it creates at Stripe.
    pub mark: DeploymentMark,
}

impl Shop {
    /// Whether this deployment created an object of this owner.
    #[must_use]
    pub fn owns(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Marked(mark) => *mark == self.mark,
            Owner::Unmarked | Owner::Unsaid => false,
        }
    }

    /// Whether somebody else created it. Where the owner isn't said, it may still be ours.
    #[must_use]
    pub fn disowns(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Marked(_) | Owner::Unmarked => !self.owns(owner),
            Owner::Unsaid => false,
        }
    }
}

/// Who created an object at Stripe, by its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The deployment with this mark.
    Marked(DeploymentMark),
    /// No deployment: the metadata has no mark.
    Unmarked,
    /// The object doesn't say. Refunds, disputes and fraud warnings carry no mark; the payment that
    /// they name does.
    Unsaid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_mark_makes_an_object_ours() {
        let mark = |text: &str| text.parse::<DeploymentMark>().unwrap();
        let ours = Shop { mode: Mode::Test, mark: mark("ours") };
        for (owner, is_ours, is_another_s) in [
            (Owner::Marked(mark("ours")), true, false),
            (Owner::Marked(mark("Ours")), false, true),
            (Owner::Marked(mark("ours2")), false, true),
            (Owner::Unmarked, false, true),
            (Owner::Unsaid, false, false),
        ] {
            assert_eq!((ours.owns(&owner), ours.disowns(&owner)), (is_ours, is_another_s));
        }
    }
}
