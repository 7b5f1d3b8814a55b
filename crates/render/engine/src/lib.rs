//! Tree and settings and cluster values to objects.
