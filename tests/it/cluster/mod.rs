//! Real clusters: processes of the one binary, run as an operator would.

mod agents;
mod dev;
mod docker;
mod fleet;
mod foresight;
mod masters;
mod members;
mod rig;
mod rules;
mod secured;
