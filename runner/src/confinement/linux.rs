//! Linux: Landlock and `no_new_privs`.

use super::{Confinement, ConfinementError, Kernel, Needs};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, PathBeneath, PathFd,
    PathFdError, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    make_bitflags, path_beneath_rules,
};
use std::fs;

/// What is refused is what this version knows. A newer one refuses more, and is taken up once the tests have run on a
/// kernel that has it.
const TESTED: ABI = ABI::V7;

/// What may be done below a directory to write in: no execution, no devices, no pipes and no sockets.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | RemoveFile | RemoveDir | MakeReg | MakeDir | MakeSym | Refer
});
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// The threads of this process; 0 if they cannot be counted, because nothing is mounted at `/proc`.
pub(super) fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Restricts the calling thread.
pub(super) fn restrict(needs: &Needs) -> Result<Confinement, ConfinementError> {
    let directories = needs.write.iter().map(PathFd::new).collect::<Result<Vec<_>, _>>().map_err(unopened)?;
    let status = enforce(needs, directories).map_err(|error| ConfinementError::Refused(error.into()))?;
    Ok(Confinement::new(needs, status.no_new_privs, kernel(&status)))
}

fn enforce(needs: &Needs, directories: Vec<PathFd>) -> Result<RestrictionStatus, RulesetError> {
    // The first Landlock has no right to move a file to another directory, so it refuses that to everybody, and
    // nothing could be published: with that kernel there is no wall.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::SoftRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TESTED))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(TESTED))?;
    if needs.dial.is_some() {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    let ports =
        needs.dial.iter().flatten().map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    let write = directories.into_iter().map(|directory| Ok::<_, RulesetError>(PathBeneath::new(directory, WRITE)));
    ruleset
        .create()?
        .add_rules(write)?
        .add_rules(path_beneath_rules(&needs.read, READ))?
        .add_rules(ports)?
        .restrict_self()
}

/// What the kernel had to offer.
fn kernel(status: &RestrictionStatus) -> Kernel {
    match status.landlock {
        LandlockStatus::NotImplemented => {
            Kernel::Without("this kernel has no Landlock, or a filter of system calls hides it")
        }
        LandlockStatus::NotEnabled => Kernel::Without("this kernel was started without Landlock"),
        LandlockStatus::Available { .. } if status.ruleset == RulesetStatus::NotEnforced => {
            Kernel::Without("this kernel's Landlock, the first, would keep results from being published")
        }
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            Kernel::Landlock(kernel_abi.unwrap_or(effective_abi as i32))
        }
    }
}

fn unopened(error: PathFdError) -> ConfinementError {
    match error {
        PathFdError::OpenCall { source, path, .. } => ConfinementError::Directory { path, source },
        // The enum may grow.
        other => ConfinementError::Refused(other.into()),
    }
}
