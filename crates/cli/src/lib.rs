//! What people do at a desk: judge a recorded series, plan a cutover, compare decision rules on the
//! same traffic. Nothing here calls AWS.

pub mod desk_plan;
pub mod replay;
pub mod rules;
pub mod series;
pub mod simulate;
