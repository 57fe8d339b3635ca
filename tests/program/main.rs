//! The real program, through its command line.
