//! chat: see docs/.
