//! Sunlight: where the sun stands, how much of its light the sky lets through, and what reaches the panels.
//!
//! The formulae are those of J. A. Duffie and W. A. Beckman, *Solar Engineering of Thermal Processes*, 4th edition,
//! Wiley 2013 ("DB" below), chapters 1 and 2, with their original sources named at each.

pub mod clearness;
pub mod geometry;
pub mod plane;
