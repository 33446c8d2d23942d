//! commands: see docs/.
