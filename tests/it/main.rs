//! The one integration binary: what the pieces do together, and what the repository promises
//! about itself.

mod examples;
mod tidy;
