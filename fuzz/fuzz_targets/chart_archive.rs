//! Packed charts: unpacked, read and rendered with their own values.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_helm::{
    Capabilities, Chart, Dialect, HelmVersion, KubeVersion, Limits, RenderInput, TemplateLimits,
};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        total_bytes: 1 << 20,
        archive_bytes: 1 << 20,
        ..Limits::default()
    };
    let Ok(chart) = Chart::from_archive("chart.tgz", bytes, &limits) else {
        return;
    };
    for dialect in [Dialect::HELM_3, Dialect::HELM_4] {
        let Ok(compiled) = chart.compile(dialect, limits) else {
            continue;
        };
        let Ok(kube) = KubeVersion::parse("1.34.2") else {
            continue;
        };
        let capabilities = Capabilities::new::<&str>(kube, &[], HelmVersion::of(dialect));
        let mut input = RenderInput::new(&[], capabilities);
        input.limits = TemplateLimits {
            fuel: 100_000,
            ..TemplateLimits::default()
        };
        let _ = compiled.render(&input);
    }
});
