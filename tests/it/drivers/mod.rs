//! Every runtime passes the shared [`suite`]; what is special to one is in its own file.

mod docker;
mod fake;
mod process;
mod proxy;
mod suite;
