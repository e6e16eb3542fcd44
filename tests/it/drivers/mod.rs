//! Every runtime passes the shared [`suite`]; what is special to one is in its own file.

mod fake;
mod process;
mod suite;
