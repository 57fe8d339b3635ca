//! power-flow
