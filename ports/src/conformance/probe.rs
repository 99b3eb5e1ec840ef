//! Scenarios for [`Probe`](crate::Probe).

use std::sync::Arc;

use crate::Probe;

/// One test for each scenario; the fixture is a future of `Option<(Arc<dyn Probe>, guard)>` on a healthy backend.
#[macro_export]
macro_rules! probe_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            probe,
            [
                a_healthy_backend_answers,
                a_fresh_schema_serves_this_version,
                a_survey_counts_this_machine_and_reads_a_clock_that_goes,
                the_name_can_stand_in_a_health_answer,
                pool_figures_agree_with_each_other,
                every_statement_is_counted,
                a_healthy_cluster_is_not_away,
            ]
        );
    };
}

/// Each time that it is asked.
pub async fn a_healthy_backend_answers(probe: &Arc<dyn Probe>) {
    for _ in 0..3 {
        probe.check().await.expect("it answers");
    }
}

/// The one that this version made, or none.
pub async fn a_fresh_schema_serves_this_version(probe: &Arc<dyn Probe>) {
    assert!(probe.schema().await.expect("it answers"));
}

/// A clock, where there is one, is past the making of this version and does not go backwards; whoever asks is one of those connected.
pub async fn a_survey_counts_this_machine_and_reads_a_clock_that_goes(probe: &Arc<dyn Probe>) {
    let first = probe.survey().await.expect("it answers");
    let second = probe.survey().await.expect("it answers");
    if let (Some(earlier), Some(later)) = (first.clock, second.clock) {
        assert!(
            earlier.seconds() > 1_767_225_600 && later >= earlier,
            "{earlier} {later}"
        );
    }
    assert_eq!(first.clock.is_some(), second.clock.is_some());
    assert!(first.machines.is_none_or(|machines| machines >= 1), "{first:?}");
}

/// Lower-case words, always the same.
pub async fn the_name_can_stand_in_a_health_answer(probe: &Arc<dyn Probe>) {
    let name = probe.name();
    assert!(
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
        "{name}"
    );
    assert_eq!(probe.name(), name);
}

/// No more idle than open, no more open than allowed.
pub async fn pool_figures_agree_with_each_other(probe: &Arc<dyn Probe>) {
    probe.check().await.expect("it answers");
    if let Some(pool) = probe.pool() {
        assert!(
            pool.idle <= pool.open && pool.open <= pool.max && pool.open > 0,
            "{pool:?}"
        );
    }
}

/// Asking it counts; nothing that went well counts as a failure.
pub async fn every_statement_is_counted(probe: &Arc<dyn Probe>) {
    let Some(before) = probe.statements() else { return };
    for _ in 0..3 {
        probe.check().await.expect("it answers");
    }
    let after = probe.statements().expect("it told before");
    let counted = |stats: &domain::stats::StatementStats| stats.time.counts.iter().sum::<u64>();
    assert!(counted(&after) >= counted(&before) + 3, "{before:?} {after:?}");
    assert_eq!(after.failures, before.failures);
}

/// After it answered; the brokers that are connected are some of those that are known.
pub async fn a_healthy_cluster_is_not_away(probe: &Arc<dyn Probe>) {
    probe.check().await.expect("it answers");
    if let Some(cluster) = probe.cluster() {
        assert!(!cluster.away && cluster.brokers_up <= cluster.brokers, "{cluster:?}");
    }
}
