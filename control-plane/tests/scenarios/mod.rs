//! What has to hold on either store.

pub mod access;
pub mod audit;
pub mod credentials;
pub mod documents;
pub mod grants;
pub mod identity;
pub mod notifications;
pub mod overview;
pub mod policies;
pub mod requests;
pub mod reviews;
pub mod scim;
pub mod stops;
pub mod ways;
