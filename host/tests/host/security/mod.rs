//! What attackers try, and that it does not work: one file for each kind of attack.

mod host_identity;
