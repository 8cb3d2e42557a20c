//! Telling people what they have to know.
//!
//! In reading order: [`events`] (what is told of an event, queued in the event's own transaction); [`deliver`] (takes
//! what is due and has it delivered, again and again for about a day); [`webhook`], [`slack`], [`email`] (the ways to
//! deliver), with [`words`] (the same text for people); [`manage`] (what admins see and do).
//!
//! Each message is delivered at least once, messages about the same thing one after the other. Whoever has taken one
//! has it for [`deliver`]'s lease; a process that dies loses it to the next.

mod deliver;
pub(crate) mod email;
mod events;
pub mod manage;
pub(crate) mod slack;
mod webhook;
mod words;

pub(crate) use deliver::run;
pub(crate) use events::queue;
