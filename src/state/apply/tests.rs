//! Arms of `apply`, told as sentences.
