//! The HTTP API as a program uses it: a live run in this process, its server on a port, and requests.

mod changes;
mod description;
mod exposition;
mod proof;
mod served;
mod views;
