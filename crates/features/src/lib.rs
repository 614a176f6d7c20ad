//! Nothing but a manifest: one set of features of the dependencies, whichever of our crates is built.
