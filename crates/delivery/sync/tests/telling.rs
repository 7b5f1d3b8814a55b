//! What the agent says of an App that is not well yet.

mod common;

use common::{World, deployment, item};
use roadstead_dispatch::AppState;

#[test]
fn what_is_applied_and_not_healthy_is_named() {
    let mut world = World {
        controllers: false,
        ..World::default()
    };
    let objects = ["web", "api"].map(|name| item(deployment(name, "i:1")));
    world.deliver("shop", objects.into());
    world.expect("shop", AppState::Synced);
    let message = &world.state("shop").message;
    assert!(
        message.starts_with("waits: Deployment shop/web is Progressing: ")
            && message.ends_with(" (and 1 more)"),
        "{message}"
    );
    world.controllers = true;
    world.deliver("shop", vec![item(deployment("web", "i:2"))]);
    world.expect("shop", AppState::Healthy);
    assert_eq!(world.state("shop").message, "");
}
