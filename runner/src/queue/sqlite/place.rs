//! Where a queue's file may lie: on what file systems, and whether their locks hold.

use super::fault::Fault;
use super::sharing::Sharing;
use std::path::{Path, PathBuf};

/// File systems that other machines may write to at the same time, by the numbers that `statfs` gives them.
///
/// What is behind FUSE nobody can tell: GlusterFS, sshfs and the directories of virtual machines among others. Those
/// that share one disk (GFS2, OCFS2, ACFS, VxFS) are among them because they need not share memory.
/// Sources: `linux/magic.h`, and what `stat.c` of the GNU coreutils calls remote.
const NETWORK: [(u32, &str); 25] = [
    (0x0000_517B, "SMB"),
    (0x0000_564C, "NCP"),
    (0x0000_6969, "NFS"),
    (0x00C3_6400, "Ceph"),
    (0x0102_1997, "9p"),
    (0x0116_1970, "GFS2"),
    (0x0131_11A8, "IBRIX"),
    (0x0BD0_0BD0, "Lustre"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0x4750_4653, "GPFS"),
    (0x5346_414F, "AFS"),
    (0x6163_6673, "ACFS"),
    (0x6573_5546, "FUSE"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x7461_636F, "OCFS2"),
    (0x786F_4256, "VirtualBox's shared folders"),
    (0x7C7C_6673, "Parallels' shared folders"),
    (0xA501_FCF5, "VxFS"),
    (0xAAD7_AAEA, "PanFS"),
    (0xBACB_ACBC, "VMware's shared folders"),
    (0xBEEF_DEAD, "StorNext"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "SMB"),
];

/// Options of mounts with which a lock is not told to the server, by the beginning of the file system's type.
const LOCKS_STAY_HERE: [(&str, &[&str]); 3] = [
    ("nfs", &["nolock", "local_lock=all", "local_lock=posix", "local_lock=flock"]),
    ("cifs", &["nobrl"]),
    ("lustre", &["localflock"]),
];

/// Refuses a place where a file cannot be used in this way.
pub(super) fn check(path: &Path, sharing: Sharing) -> Result<(), Fault> {
    let directory = directory_of(path);
    match sharing {
        Sharing::OneMachine => match network(&directory) {
            Some(name) => Err(Fault::Unusable(format!(
                "its directory is on {name}, where other machines may use it too, and the write-ahead log of a file that \
                 several machines use is damaged sooner or later; give --shared (or LONGBOAT_SHARED=1) to every command \
                 that uses it, or keep it on a local disk with --queue sqlite:PATH or --data-dir DIR"
            ))),
            None => Ok(()),
        },
        Sharing::ManyMachines => match unlocked(&directory) {
            Some(option) => Err(Fault::Unusable(format!(
                "its directory is mounted with the option {option}, so no other machine sees this one's locks, and they \
                 would damage the file; mount it without that option"
            ))),
            None => Ok(()),
        },
    }
}

/// The directory in which SQLite makes its files; behind a link, if the queue's file is one.
fn directory_of(path: &Path) -> PathBuf {
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match file.parent() {
        Some(directory) if directory != Path::new("") => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The network file system that a directory is on. If that cannot be found out, opening the file will say why.
#[cfg(target_os = "linux")]
fn network(directory: &Path) -> Option<&'static str> {
    // The numbers have 32 bits, in a field whose width and sign depend on the machine.
    rustix::fs::statfs(directory).ok().and_then(|answer| named(answer.f_type as u32))
}

/// Nothing is known of other systems' numbers.
#[cfg(not(target_os = "linux"))]
fn network(_: &Path) -> Option<&'static str> {
    None
}

fn named(number: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The option by which the locks on a directory's files stay on this machine.
fn unlocked(directory: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let device = directory.metadata().ok()?.dev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    option_in(&std::fs::read_to_string("/proc/self/mountinfo").ok()?, &device).map(str::to_owned)
}

/// That option in a text like `/proc/self/mountinfo`: device in the third column, type and options after a dash.
fn option_in<'a>(mounts: &'a str, device: &str) -> Option<&'a str> {
    let mounts = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(device));
    mounts.filter_map(|line| line.split_once(" - ")).find_map(|(_, rest)| {
        let mut columns = rest.split(' ');
        let (kind, options) = (columns.next()?, columns.nth(1)?);
        let (_, bad) = LOCKS_STAY_HERE.iter().find(|(known, _)| kind.starts_with(known))?;
        options.split(',').find(|option| bad.contains(option))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers_and_local_ones_are_none() {
        let network = [
            (0x6969, "NFS"),
            (0xFF53_4D42, "SMB"),
            (0x0102_1997, "9p"),
            (0x6573_5546, "FUSE"),
            (0x0BD0_0BD0, "Lustre"),
        ];
        for (number, name) in network {
            assert_eq!(named(number), Some(name));
        }
        let (ext4, xfs, btrfs, tmpfs, overlay, zfs) =
            (0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1);
        assert!([ext4, xfs, btrfs, tmpfs, overlay, zfs, 0].iter().all(|number| named(*number).is_none()));
        let mut numbers: Vec<_> = NETWORK.iter().map(|(number, _)| number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), NETWORK.len(), "no number stands there twice");
    }

    #[test]
    fn a_mount_whose_locks_do_not_leave_the_machine_is_found_by_its_device() {
        let mounts = "\
            36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
            41 35 0:52 / /srv/q rw,relatime shared:1 - nfs4 host:/q rw,vers=4.2,local_lock=none,addr=192.0.2.7\n\
            42 35 0:53 / /srv/r rw,relatime - nfs host:/r rw,vers=3,nolock,local_lock=all,addr=192.0.2.7\n\
            43 35 0:54 / /srv/s rw - cifs //host/s rw,vers=3.0,nobrl\n\
            44 35 0:55 / /srv/t rw,nolock - ext4 /dev/sdb rw,nolock\n\
            garbage\n";
        for (device, option) in
            [("98:0", None), ("0:52", None), ("0:53", Some("nolock")), ("0:54", Some("nobrl")), ("0:55", None)]
        {
            assert_eq!(option_in(mounts, device), option, "{device}");
        }
        assert_eq!(option_in("", "0:52"), None);
    }

    #[test]
    fn the_disk_of_the_tests_is_good_for_either_use() {
        let directory = tempfile::tempdir().unwrap();
        for sharing in [Sharing::OneMachine, Sharing::ManyMachines] {
            check(&directory.path().join("queue.db"), sharing).unwrap();
        }
        assert_eq!(directory_of(Path::new("queue.db")), Path::new("."));
        let link = directory.path().join("link");
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("q"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("q"), &link).unwrap();
        assert_eq!(directory_of(&link), elsewhere.path().canonicalize().unwrap());
    }
}
