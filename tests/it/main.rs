//! Tests against real parts: processes, engines, sockets. One binary, so that it links once.

#[cfg(not(feature = "sim"))]
mod api;
#[cfg(not(feature = "sim"))]
mod drivers;
