//! Tiers: their names, and that a tier which is configured no more is never worth more than `free`.

use std::collections::BTreeSet;

use domain::tier::{NoFreeTierError, Tier, TierLimits, TierName, Tiers};
use proptest::prelude::*;

fn tier(name: &str, bytes: u64) -> Tier {
    let limits = TierLimits {
        max_file_bytes: bytes,
        storage_bytes: bytes,
        requests_per_minute: 60,
        events_per_minute: 60,
    };
    Tier {
        name: name.parse().expect("a name"),
        features: BTreeSet::new(),
        limits,
    }
}

fn is_name(text: &str) -> bool {
    let letters = "abcdefghijklmnopqrstuvwxyz";
    text.len() <= 32
        && text.chars().next().is_some_and(|first| letters.contains(first))
        && text.chars().all(|c| letters.contains(c) || "0123456789_-".contains(c))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn names_are_taken_by_their_rule(text in prop_oneof!["[a-z][a-z0-9_-]{0,34}", "[a-zA-Z0-9_. -]{0,6}", any::<String>()]) {
        let parsed = text.parse::<TierName>();
        prop_assert_eq!(parsed.is_ok(), is_name(&text), "{:?}", text);
        if let Ok(parsed) = parsed {
            prop_assert_eq!(parsed.as_str(), &text);
            prop_assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn every_name_entitles_to_its_tier_or_to_free(known in prop::collection::btree_set("[a-e]{1,2}", 0..6), asked in "[a-e]{1,2}") {
        let others = known.iter().map(|name| tier(name, 9_999));
        let tiers = Tiers::new(others.chain([tier("free", 1)])).expect("free is there");
        let name: TierName = asked.parse().expect("a name");
        let entitled = tiers.entitlement(&name).expect("always one");
        if known.contains(&asked) {
            prop_assert_eq!(&entitled.name, &name);
            prop_assert_eq!(tiers.find(&name), Some(entitled));
        } else {
            prop_assert_eq!(&entitled.name, &TierName::free());
            prop_assert_eq!(tiers.find(&name), None);
            prop_assert_eq!(entitled.limits.storage_bytes, 1);
        }
        prop_assert_eq!(tiers.iter().count(), known.len() + 1);
    }
}

#[test]
fn free_must_be_there() {
    assert_eq!(Tiers::new([tier("pro", 5)]), Err(NoFreeTierError));
    assert_eq!(Tiers::new([]), Err(NoFreeTierError));
    assert_eq!(TierName::free().as_str().parse(), Ok(TierName::free()));
}
