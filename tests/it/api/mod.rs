//! The API from outside: requests in, codes, headers and bodies out, over a store without Raft.

mod apps;
mod bad_input;
mod bench;
mod everywhere;
mod foresight;
mod proxy;
mod serving;
mod tasks;
