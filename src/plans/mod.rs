//! plans: see docs/.
