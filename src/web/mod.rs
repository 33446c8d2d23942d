//! web: see docs/.
