//! The order each cluster gets, and what agents report.
