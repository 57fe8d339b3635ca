//! What this process holds.

/// Memory and descriptors at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Resident bytes.
    pub bytes: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

/// What is held now, where the system tells.
pub(crate) fn held() -> Option<Held> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Held { bytes: kibibytes << 10, descriptors })
}
