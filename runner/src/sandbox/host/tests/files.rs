//! `wasi:filesystem`; what the tree behind it does with names, sizes and quotas is tested beside it.

use super::*;
use crate::sandbox::host::bindings::wasi::filesystem::preopens;
use crate::sandbox::host::bindings::wasi::filesystem::types::{
    self, DescriptorFlags, ErrorCode, HostDescriptor, HostDirectoryEntryStream, NewTimestamp, OpenFlags, PathFlags,
};
use crate::sandbox::host::filesystem::Descriptor;
use crate::sandbox::tree::TreeError;

fn root(host: &mut Host) -> Resource<Descriptor> {
    let mut directories = preopens::Host::get_directories(host).unwrap();
    let (root, path) = directories.pop().unwrap();
    assert_eq!((path.as_str(), directories.len()), ("/result", 0), "there is one directory and no other");
    root
}

fn create(host: &mut Host, root: &Resource<Descriptor>, path: &str) -> Result<Resource<Descriptor>, TreeError> {
    let access = DescriptorFlags::READ | DescriptorFlags::WRITE;
    host.open_at(lend(root), PathFlags::empty(), path.to_owned(), OpenFlags::CREATE, access)
}

#[test]
fn the_result_directory_is_the_only_one_and_its_own_top() {
    let Fixture { mut host, .. } = fixture();
    let root = root(&mut host);
    let flags = HostDescriptor::get_flags(&mut host, lend(&root)).unwrap();
    assert_eq!(flags, DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY);
    for path in ["..", "/", "/result", "a/../..", "../result"] {
        let found = host.stat_at(lend(&root), PathFlags::SYMLINK_FOLLOW, path.to_owned());
        assert_eq!(found.map(|_| ()), Err(TreeError::NotPermitted), "{path}");
    }
    let listing = host.read_directory(root).unwrap();
    assert!(host.read_directory_entry(listing).unwrap().is_none(), "it is empty at first");
}

#[test]
fn there_are_no_links_and_no_times_of_the_guests_choice() {
    let Fixture { mut host, scratch } = fixture();
    let root = root(&mut host);
    let file = create(&mut host, &root, "file").unwrap();
    let (at, name) = (PathFlags::empty(), || "file".to_owned());
    let now = || (NewTimestamp::Now, NewTimestamp::Now);
    assert_eq!(host.symlink_at(lend(&root), name(), "link".to_owned()), Err(TreeError::NotPermitted));
    assert_eq!(host.link_at(lend(&root), at, name(), lend(&root), "link".to_owned()), Err(TreeError::NotPermitted));
    assert_eq!(host.readlink_at(lend(&root), name()), Err(TreeError::Invalid), "a file is no link");
    assert_eq!(host.set_times(file, now().0, now().1), Err(TreeError::NotPermitted));
    assert_eq!(host.set_times_at(lend(&root), at, name(), now().0, now().1), Err(TreeError::NotPermitted));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing of this has reached the host's disk");
}

#[test]
fn what_is_told_of_a_file_follows_from_what_the_guest_did() {
    let tell = || {
        let Fixture { mut host, scratch: _kept } = fixture();
        let root = root(&mut host);
        let mut told = Vec::new();
        for name in ["one", "two"] {
            let file = create(&mut host, &root, name).unwrap();
            HostDescriptor::write(&mut host, lend(&file), b"hello".to_vec(), 0).unwrap();
            let stat = HostDescriptor::stat(&mut host, lend(&file)).unwrap();
            assert_eq!((stat.size, stat.link_count), (5, 1));
            let times = [stat.data_access_timestamp, stat.data_modification_timestamp, stat.status_change_timestamp];
            for time in times.map(Option::unwrap) {
                // A nanosecond for each change that was made to the tree.
                assert!(time.seconds == 1 && time.nanoseconds < 10, "times count from the job's clock: {time:?}");
            }
            let hash = HostDescriptor::metadata_hash(&mut host, file).unwrap();
            let same = host.metadata_hash_at(lend(&root), PathFlags::empty(), name.to_owned()).unwrap();
            assert_eq!((same.lower, same.upper), (hash.lower, hash.upper));
            told.push(((hash.lower, hash.upper), format!("{stat:?}")));
        }
        told
    };
    let told = tell();
    assert_eq!(tell(), told, "another host in another directory tells the same");
    assert_eq!([told[0].0, told[1].0], [(1, 0), (2, 0)], "files are numbered as they are made");
}

#[test]
fn one_handle_more_than_a_guest_may_hold_is_refused() {
    let Fixture { mut host, .. } = fixture();
    let root = root(&mut host);
    let mut files = vec![create(&mut host, &root, "file").unwrap()];
    while files.len() + 1 < MAX_HANDLES {
        files.push(create(&mut host, &root, "file").unwrap());
    }
    let refused = create(&mut host, &root, "file").unwrap_err();
    assert_eq!(refused, TreeError::Quota);
    assert_eq!(types::Host::convert_error_code(&mut host, refused).unwrap(), ErrorCode::Quota);
    assert!(inputs::Host::all(&mut host).unwrap().is_empty(), "what needs no handle goes on");
    assert!(stderr::Host::get_stderr(&mut host).is_err());
    HostDescriptor::drop(&mut host, files.pop().unwrap()).unwrap();
    create(&mut host, &root, "file").expect("one was given back");
}

#[test]
fn every_refusal_has_its_name_and_a_fault_of_the_hosts_disk_has_none() {
    let Fixture { mut host, .. } = fixture();
    for (error, code) in [
        (TreeError::NoEntry, ErrorCode::NoEntry),
        (TreeError::NotPermitted, ErrorCode::NotPermitted),
        (TreeError::InsufficientSpace, ErrorCode::InsufficientSpace),
        (TreeError::IllegalName, ErrorCode::IllegalByteSequence),
    ] {
        assert_eq!(types::Host::convert_error_code(&mut host, error).unwrap(), code);
    }
    let fault = TreeError::Io(std::io::ErrorKind::StorageFull);
    assert!(types::Host::convert_error_code(&mut host, fault).is_err(), "it ends the guest instead");
}
