//! Which objects in a Stripe account belong to a deployment. Other deployments and other software
//! may sell in the same account.

use super::decide::Mode;
use super::id::DeploymentMark;

/// What identifies a deployment's objects at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shop {
    /// Stripe's test or live mode.
    pub mode: Mode,
    /// The mark in the metadata of everything that it creates at Stripe.
    pub mark: DeploymentMark,
}

impl Shop {
    /// Whether this deployment created an object with this owner.
    #[must_use]
    pub fn owns(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Marked(mark) => *mark == self.mark,
            Owner::Unmarked | Owner::Unsaid => false,
        }
    }

    /// Whether somebody else created the object. If it doesn't name its owner, it may still be
    /// ours.
    #[must_use]
    pub fn disowns(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Marked(_) | Owner::Unmarked => !self.owns(owner),
            Owner::Unsaid => false,
        }
    }
}

/// Who created an object at Stripe, according to its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The deployment with this mark.
    Marked(DeploymentMark),
    /// No deployment: the metadata has no mark.
    Unmarked,
    /// The object doesn't say. Refunds, disputes and fraud warnings have no mark, but the payment
    /// that they refer to does.
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
