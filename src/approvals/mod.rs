//! approvals: see docs/.
