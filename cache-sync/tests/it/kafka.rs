//! The shared log on a real broker: the port's suite, what is refused when it is opened, and what happens when the
//! broker or the topic fails.

mod anew;
mod broker;
mod faults;
mod foreign;
mod lives;
mod opening;
mod place;
mod secure;
mod suite;
