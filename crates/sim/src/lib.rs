//! Hub, agents, clusters, Git, disk and clock on one seeded event queue.
//!
//! [`run`] makes a small fleet, lets everything go wrong that may go wrong for a while, then lets everything be well again
//! and waits until every cluster holds what it should. What must never happen is checked at each step. The same seed
//! gives the same trace; the clock is virtual and jumps to the next thing that happens.
//!
//! The decisions of the hub, the machine of the agent, the store and server-side apply are the real ones. What stands in
//! `edge/` (sockets, threads, Git, SQLite, tonic) is not here; its part is played by `hub` and `agent` in this crate.

mod agent;
mod chaos;
mod cluster;
mod git;
mod hub;
mod lists;
mod monitor;
mod queue;
#[cfg(test)]
mod scenarios;
mod settle;
mod world;

/// How big, how long, and how bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many clusters there are at the start; at least 3.
    pub clusters: usize,
    /// For how long things go wrong, in virtual milliseconds.
    pub chaos_ms: u64,
    /// Do things go wrong at all, besides what people do?
    pub faults: bool,
    /// How many lines of the trace are kept.
    pub tail: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clusters: 5,
            chaos_ms: 300_000,
            faults: true,
            tail: 200,
        }
    }
}

/// How much happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events of the queue.
    pub events: u64,
    /// Virtual time in milliseconds.
    pub virtual_ms: u64,
    /// Times that the hub started.
    pub hub_starts: u64,
    /// Effects of the hub, each a place to die.
    pub hub_effects: u64,
    /// Commits that wrote something.
    pub commits: u64,
    /// Of them, those that wrote more than when a cluster was heard of.
    pub facts: u64,
    /// Orders that were signed.
    pub orders: u64,
    /// Orders that agents refused.
    pub refused: u64,
    /// Reports that the hub took in.
    pub reports: u64,
    /// Renders.
    pub renders: u64,
    /// Times that an agent started.
    pub agent_starts: u64,
    /// Steps of agents' machines.
    pub agent_steps: u64,
    /// Effects of agents, each a place to die.
    pub agent_effects: u64,
    /// Writes of agents in clusters.
    pub writes: u64,
    /// Hooks that ran.
    pub hooks: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The hash of everything that happened.
    pub trace_hash: u64,
    /// How much happened.
    pub stats: Stats,
    /// What happened that must not.
    pub violations: Vec<String>,
    /// The last lines of the trace.
    pub tail: Vec<String>,
}

impl Outcome {
    fn of(mut world: world::World) -> Self {
        world.stats.virtual_ms = world.now;
        world.stats.hooks = world.monitor.hook_runs;
        Self {
            trace_hash: world.trace_hash(),
            stats: world.stats,
            violations: world.violations,
            tail: world.tail.into(),
        }
    }
}

/// Runs one seed from its beginning to its end.
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut world = world::World::new(seed, options);
    world.begins();
    world.run(options.chaos_ms);
    world.settles();
    Outcome::of(world)
}
