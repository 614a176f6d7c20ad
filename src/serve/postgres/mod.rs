//! The Postgres protocol over a live run: views by their files' names, relations as bounded reads.
