//! A year of 365 days that begins on a Monday, in solar time.

/// Days in the year.
pub const DAYS: usize = 365;

/// The months, and how many days each has.
pub const MONTHS: [(&str, usize); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];

/// What the habits of a house follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayType {
    /// Monday to Friday.
    Workday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

/// The type of a day, counted from 0.
pub fn day_type(day: usize) -> DayType {
    match day % 7 {
        5 => DayType::Saturday,
        6 => DayType::Sunday,
        _ => DayType::Workday,
    }
}

/// The month of each day, both counted from 0.
pub fn months() -> [usize; DAYS] {
    let mut months = [0; DAYS];
    let of_days = MONTHS.iter().enumerate().flat_map(|(month, &(_, days))| std::iter::repeat_n(month, days));
    for (slot, month) in months.iter_mut().zip(of_days) {
        *slot = month;
    }
    months
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_months_fill_the_year() {
        assert_eq!(MONTHS.iter().map(|(_, days)| days).sum::<usize>(), DAYS);
        assert_eq!((months()[30], months()[31], months()[364]), (0, 1, 11));
    }
}
