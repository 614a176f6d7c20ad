//! Distances on the sphere as SQL functions.
