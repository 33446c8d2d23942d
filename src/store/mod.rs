//! store: see docs/.
