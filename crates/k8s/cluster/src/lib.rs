//! What an agent needs of a cluster: the trait and its contract suite.
