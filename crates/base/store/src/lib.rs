//! Facts: the store trait, its contract suite, the memory backend over a simulated disk.
