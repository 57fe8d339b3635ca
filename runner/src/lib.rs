//! longboat
