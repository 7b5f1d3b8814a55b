//! Hub, agents, clusters, Git, disk and clock on one seeded event queue.
