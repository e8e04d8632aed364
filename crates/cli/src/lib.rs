//! What people do at a desk: judge a recorded series, plan a cutover. Nothing here calls AWS.

pub mod desk_plan;
pub mod replay;
mod rows;
pub mod series;
pub mod steps;
