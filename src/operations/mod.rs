//! operations: see docs/.
