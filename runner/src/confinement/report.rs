//! Which walls stand, and how that is told.

use super::Needs;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// One thing that a confined process cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// Have more rights through a program that it executes: `no_new_privs`.
    Privileges,
    /// Reach files beyond those that it needs, or execute any at all.
    Files,
    /// Cut files short that it may not write.
    Truncation,
    /// Listen on a TCP port, or dial one that it does not need.
    Tcp,
    /// Control devices.
    Devices,
    /// Send signals to other processes, or reach their abstract sockets.
    Processes,
}

impl Wall {
    /// All of them, in the order in which kernels came to have them.
    pub const ALL: [Self; 6] =
        [Self::Privileges, Self::Files, Self::Truncation, Self::Tcp, Self::Devices, Self::Processes];

    /// The version of Landlock's interface that has it, and the Linux that came with that.
    /// Source: <https://docs.kernel.org/userspace-api/landlock.html>, "Previous limitations".
    const fn since(self) -> (i32, &'static str) {
        match self {
            Self::Privileges => (0, "3.5"),
            Self::Files => (2, "5.19"),
            Self::Truncation => (3, "6.2"),
            Self::Tcp => (4, "6.7"),
            Self::Devices => (5, "6.10"),
            Self::Processes => (6, "6.12"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Privileges => "new privileges",
            Self::Files => "files and execution",
            Self::Truncation => "truncation of other files",
            Self::Tcp => "TCP ports",
            Self::Devices => "device control",
            Self::Processes => "signals and abstract sockets to other processes",
        }
    }
}

/// What a kernel has for building walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// This version of Landlock's interface.
    Landlock(i32),
    /// Nothing that can be used, and why.
    Without(&'static str),
}

/// How a process is confined. Its text says which walls stand, and which do not and why, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    no_new_privs: bool,
    kernel: Kernel,
    write: Vec<PathBuf>,
    dial: Option<BTreeSet<u16>>,
}

impl Confinement {
    pub(super) fn new(needs: &Needs, no_new_privs: bool, kernel: Kernel) -> Self {
        Self { no_new_privs, kernel, write: needs.write.clone(), dial: needs.dial.clone() }
    }

    /// Whether a wall stands.
    pub fn has(&self, wall: Wall) -> bool {
        match (wall, self.kernel) {
            (Wall::Privileges, _) => self.no_new_privs,
            (_, Kernel::Landlock(abi)) => abi >= wall.since().0,
            (_, Kernel::Without(_)) => false,
        }
    }

    /// The walls that the kernel does not offer.
    pub fn missing(&self) -> Vec<Wall> {
        Wall::ALL.into_iter().filter(|wall| !self.has(*wall)).collect()
    }

    /// What the standing wall keeps in.
    fn describe(&self, wall: Wall) -> String {
        match wall {
            Wall::Privileges => "no new privileges".to_owned(),
            Wall::Files => {
                let directories: Vec<_> = self.write.iter().map(|path| path.display().to_string()).collect();
                format!("no execution; writes below {} only, reads little else", directories.join(", "))
            }
            Wall::Truncation => "truncates nothing else".to_owned(),
            Wall::Tcp => match &self.dial {
                None => "TCP: binds no port, dials any".to_owned(),
                Some(ports) if ports.is_empty() => "TCP: binds and dials no port".to_owned(),
                Some(ports) => {
                    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                    format!("TCP: binds no port, dials {} only", ports.join(", "))
                }
            },
            Wall::Devices => "no device control".to_owned(),
            Wall::Processes => "no signals or abstract sockets to others".to_owned(),
        }
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.missing();
        let standing: Vec<_> =
            Wall::ALL.into_iter().filter(|wall| self.has(*wall)).map(|wall| self.describe(wall)).collect();
        if !standing.is_empty() {
            write!(f, "confined")?;
            if let Kernel::Landlock(abi) = self.kernel {
                write!(f, " by Landlock {abi}")?;
            }
            write!(f, ": {}", standing.join("; "))?;
        }
        let Some(last) = missing.last() else { return Ok(()) };
        if !standing.is_empty() {
            writeln!(f)?;
        }
        let names: Vec<_> = missing.iter().map(|wall| wall.name()).collect();
        write!(f, "not confined: {}; ", names.join(", "))?;
        match self.kernel {
            Kernel::Without(reason) => write!(f, "{reason}"),
            Kernel::Landlock(_) => write!(f, "Linux {} has walls for all of that", last.since().1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confinement(kernel: Kernel, ports: Option<&[u16]>) -> Confinement {
        let dial = ports.map(|ports| ports.iter().copied().collect());
        Confinement::new(&Needs { write: vec!["/srv/longboat".into()], read: Vec::new(), dial }, true, kernel)
    }

    #[test]
    fn a_kernel_that_has_it_all_is_told_of_in_one_line() {
        let text = confinement(Kernel::Landlock(7), None).to_string();
        assert_eq!(
            text,
            "confined by Landlock 7: no new privileges; no execution; writes below /srv/longboat only, reads little \
             else; truncates nothing else; TCP: binds no port, dials any; no device control; no signals or abstract \
             sockets to others"
        );
        assert_eq!(confinement(Kernel::Landlock(9), None).missing(), []);
    }

    #[test]
    fn an_older_kernel_is_told_of_with_what_it_lacks_and_which_one_has_it() {
        let confinement = confinement(Kernel::Landlock(4), Some(&[53, 443]));
        assert_eq!(confinement.missing(), [Wall::Devices, Wall::Processes]);
        let text = confinement.to_string();
        let (standing, missing) = text.split_once('\n').unwrap();
        assert!(standing.ends_with("TCP: binds no port, dials 53, 443 only"), "{standing}");
        assert_eq!(
            missing,
            "not confined: device control, signals and abstract sockets to other processes; Linux 6.12 has walls for \
             all of that"
        );
    }

    #[test]
    fn a_kernel_without_landlock_still_has_no_new_privs() {
        let text = confinement(Kernel::Without("this kernel has no Landlock"), None).to_string();
        assert!(text.starts_with("confined: no new privileges\nnot confined: files and execution, "), "{text}");
        assert!(text.ends_with("this kernel has no Landlock"), "{text}");
    }
}
