//! The contract of every cluster, held by the playground.

use k8s_cluster::contract::run;
use k8s_playground::Simulation;

#[tokio::test]
async fn the_playground_holds_the_contract() {
    let simulation = Simulation::direct().expect("a playground");
    let done = run(&simulation)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(done.len(), 31, "{done:?}");
}
