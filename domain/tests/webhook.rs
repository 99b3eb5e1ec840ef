//! Webhooks: filters, signatures, the schedule.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::event::EventType;
use domain::webhook::{
    ATTEMPTS, DeliveryFault, DeliveryState, DisableReason, TypeFilter, retry_delay, secret_text, signature,
};

fn filter(text: &str) -> Option<TypeFilter> {
    text.parse().ok()
}

#[test]
fn a_filter_takes_one_type_a_prefix_or_all() {
    let uploaded: EventType = "file.uploaded".parse().unwrap();
    for (text, matches) in [
        ("*", true),
        ("file.*", true),
        ("file.uploaded", true),
        ("file.deleted", false),
        ("files.*", false),
        ("app.*", false),
    ] {
        let filter = filter(text).unwrap();
        assert_eq!(filter.matches(&uploaded), matches, "{text}");
        assert_eq!(filter.to_string(), text);
    }
    let nested: EventType = "app.order.placed".parse().unwrap();
    assert!(filter("app.order.*").unwrap().matches(&nested));
    assert!(!filter("app.ord.*").unwrap().matches(&nested));
    for wrong in [
        "", ".*", "**", "file", "file.", "File.*", "file.*.x", "f*", "file..*", " *",
    ] {
        assert_eq!(filter(wrong), None, "{wrong:?}");
    }
}

/// The example of the specification, which every library of it checks itself by.
#[test]
fn the_signature_is_that_of_the_specification() {
    let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signed = signature(
        &secret,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b"{\"test\": 2432232314}",
    );
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_eq!(secret_text(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
}

#[test]
fn a_delivery_is_tried_for_about_a_day() {
    for random in [0, 1, 77_777_777_777, u64::MAX] {
        let mut all = Duration::ZERO;
        let mut last = Duration::ZERO;
        for failures in 1..ATTEMPTS {
            let wait = retry_delay(failures, random).unwrap();
            assert!(wait > last, "attempt {failures}: {wait:?} after {last:?}");
            (all, last) = (all + wait, wait);
        }
        let hours = all.as_secs() / 3_600;
        assert!((22..=27).contains(&hours), "{hours} hours");
        assert_eq!(retry_delay(ATTEMPTS, random), None);
    }
    assert_eq!(retry_delay(0, 0), None);
    assert_eq!(retry_delay(u32::MAX, 0), None);
    assert!(retry_delay(1, u64::MAX).unwrap() <= Duration::from_millis(5_500));
}

#[test]
fn every_word_is_read_back() {
    for reason in DisableReason::ALL {
        assert_eq!(DisableReason::parse(reason.as_str()), Some(*reason));
    }
    for state in DeliveryState::ALL {
        assert_eq!(DeliveryState::parse(state.as_str()), Some(*state));
    }
    for fault in DeliveryFault::ALL {
        assert_eq!(DeliveryFault::parse(fault.as_str()), Some(*fault));
    }
    assert_eq!(DeliveryState::parse("lost"), None);
}
