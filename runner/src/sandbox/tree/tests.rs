use super::*;
use crate::job::{FileEntry, LimitName};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use proptest::prelude::*;

struct Fixture {
    tree: Tree,
    scratch: tempfile::TempDir,
    target: tempfile::TempDir,
}

fn tree(bytes: u64, entries: u32) -> Fixture {
    let (scratch, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = Dir::open_ambient_dir(scratch.path(), ambient_authority()).unwrap();
    Fixture { tree: Tree::new(dir.into(), Quota::new(bytes, entries)), scratch, target }
}

impl Fixture {
    fn publish(&self) -> Vec<FileEntry> {
        self.tree.publish(&Dir::open_ambient_dir(self.target.path(), ambient_authority()).unwrap()).unwrap()
    }
}

fn write(tree: &mut Tree, path: &str, bytes: &[u8]) -> Result<(), TreeError> {
    let id = tree.lookup(ROOT, path).or_else(|_| tree.create_file(ROOT, path))?;
    tree.retain(id)?;
    let written = tree.write(id, bytes, 0);
    tree.release(id);
    written
}

#[test]
fn what_was_written_is_published_under_its_name_and_listed_with_its_digest() {
    let mut fixture = tree(1 << 20, 10);
    fixture.tree.create_directory(ROOT, "a").unwrap();
    for (path, bytes) in [("a/b.txt", b"abc".as_slice()), ("a-file", b""), ("z", b"hello")] {
        write(&mut fixture.tree, path, bytes).unwrap();
    }
    let files = fixture.publish();
    let listed: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.size)).collect();
    assert_eq!(listed, [("a-file", 0), ("a/b.txt", 3), ("z", 5)]);
    assert_eq!(files[0].sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(files[1].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(std::fs::read(fixture.target.path().join("a/b.txt")).unwrap(), b"abc");
    assert_eq!(std::fs::read(fixture.target.path().join("a-file")).unwrap(), b"");
    assert_eq!(std::fs::read_dir(fixture.scratch.path()).unwrap().count(), 0);
}

/// How many files in a directory this process has open.
#[cfg(target_os = "linux")]
fn open_files(directory: &std::path::Path) -> usize {
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|file| file.parent() == Some(directory)).count()
}

#[cfg(target_os = "linux")]
#[test]
fn many_open_files_are_few_files_of_the_host() {
    let Fixture { mut tree, scratch, .. } = tree(1 << 20, 200);
    let files: Vec<_> = (0..100_u8).map(|n| tree.create_file(ROOT, &n.to_string()).unwrap()).collect();
    for (n, file) in (0..).zip(&files) {
        tree.retain(*file).unwrap();
        tree.write(*file, &[n], 0).unwrap();
    }
    let host = scratch.path().canonicalize().unwrap();
    assert_eq!(open_files(&host), contents::MAX_OPEN);
    tree.unlink(ROOT, "0").unwrap();
    for (n, file) in (0..).zip(&files) {
        let mut byte = [0];
        assert_eq!((tree.read(*file, &mut byte, 0), byte), (Ok(1), [n]), "also if it has no name any more");
        tree.write(*file, &[n], 1).unwrap();
        assert!(open_files(&host) <= contents::MAX_OPEN);
        tree.release(*file);
    }
    assert_eq!((open_files(&host), std::fs::read_dir(&host).unwrap().count()), (0, 99));
}

#[test]
fn a_failure_of_the_hosts_disk_is_told_from_a_refusal() {
    let Fixture { mut tree, scratch, .. } = tree(1 << 20, 10);
    scratch.close().unwrap();
    assert_eq!(write(&mut tree, "a", b"x"), Err(TreeError::Io(std::io::ErrorKind::NotFound)));
}

#[test]
fn a_directory_is_read_in_order_while_it_changes() {
    let Fixture { mut tree, scratch: _scratch, .. } = tree(1 << 20, 10);
    for name in ["c", "a"] {
        tree.create_file(ROOT, name).unwrap();
    }
    tree.create_directory(ROOT, "b").unwrap();
    assert_eq!(tree.next_entry(ROOT, None), Ok(Some(("a".to_owned(), 2))));
    tree.unlink(ROOT, "a").unwrap();
    assert_eq!(tree.next_entry(ROOT, Some("a")), Ok(Some(("b".to_owned(), 3))));
    assert_eq!(tree.next_entry(ROOT, Some("b")), Ok(Some(("c".to_owned(), 1))));
    assert_eq!(tree.next_entry(ROOT, Some("c")), Ok(None));
}

#[test]
fn no_path_is_longer_than_can_be_published() {
    let mut fixture = tree(1 << 30, 100);
    let tree = &mut fixture.tree;
    let name = "n".repeat(255);
    let mut path = name.clone();
    for _ in 0..3 {
        tree.create_directory(ROOT, &path).unwrap();
        path = format!("{path}/{name}");
    }
    assert_eq!(path.len(), 1023);
    write(tree, &path, b"x").unwrap();
    let parent = tree.lookup(ROOT, &path[..767]).unwrap();
    tree.create_directory(ROOT, &format!("{}/d", &path[..767])).unwrap();
    tree.create_file(parent, &format!("d/{}", "e".repeat(254))).unwrap();
    assert_eq!(tree.create_file(parent, &format!("d/{}", "e".repeat(255))), Err(TreeError::NameTooLong));
    assert_eq!(tree.create_directory(parent, &format!("d/{}", "f".repeat(255))), Err(TreeError::NameTooLong));

    tree.create_directory(ROOT, "above").unwrap();
    assert_eq!(tree.rename((ROOT, &name), (ROOT, "above/n")), Ok(()), "two bytes less in all");
    tree.rename((ROOT, "above/n"), (ROOT, "n")).unwrap();
    let longer = "m".repeat(255);
    assert_eq!(tree.rename((ROOT, "n"), (ROOT, &format!("above/{longer}"))), Err(TreeError::NameTooLong));
    tree.rename((ROOT, "n"), (ROOT, &longer)).unwrap();
    assert_eq!(tree.rename((ROOT, &longer), (ROOT, &format!("above/{longer}"))), Err(TreeError::NameTooLong));
    let files = fixture.publish();
    assert_eq!(files.iter().map(|file| file.name.len()).collect::<Vec<_>>(), [1024, 1023]);
}

#[test]
fn a_write_that_would_pass_the_quota_is_refused_and_remembered() {
    let Fixture { mut tree, scratch: _scratch, .. } = tree(10_000, 10);
    write(&mut tree, "small", b"x").unwrap();
    assert_eq!(write(&mut tree, "large", &[0; 6000]), Err(TreeError::InsufficientSpace));
    let refused = tree.quota.refused().unwrap();
    assert_eq!((refused.limit, refused.allowed), (LimitName::ResultSize, 10_000));
    let large = tree.lookup(ROOT, "large").unwrap();
    assert_eq!(tree.set_size(large, 1 << 40), Err(TreeError::InsufficientSpace));
    assert_eq!(tree.write(large, b"x", u64::MAX), Err(TreeError::InsufficientSpace));
    assert_eq!(tree.stat(large).unwrap().size, 0);
}

#[test]
fn directories_count_as_entries() {
    let Fixture { mut tree, scratch: _scratch, .. } = tree(1 << 20, 2);
    tree.create_directory(ROOT, "a").unwrap();
    tree.create_directory(ROOT, "a/b").unwrap();
    assert_eq!(tree.create_directory(ROOT, "c"), Err(TreeError::Quota));
    assert_eq!(tree.quota.refused().map(|refused| refused.limit), Some(LimitName::ResultFiles));
    tree.remove_directory(ROOT, "a/b").unwrap();
    tree.create_directory(ROOT, "c").unwrap();
}

#[test]
fn an_unlinked_file_counts_until_it_is_closed() {
    let Fixture { mut tree, scratch, .. } = tree(8_192, 1);
    write(&mut tree, "a", &[1; 8_000]).unwrap();
    let id = tree.lookup(ROOT, "a").unwrap();
    tree.retain(id).unwrap();
    tree.unlink(ROOT, "a").unwrap();
    assert_eq!(tree.create_file(ROOT, "b"), Err(TreeError::Quota));
    let mut byte = [0];
    assert_eq!(tree.read(id, &mut byte, 7_999), Ok(1));
    tree.release(id);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    write(&mut tree, "b", &[1; 8_000]).unwrap();
}

#[test]
fn a_rename_replaces_what_has_the_name() {
    let Fixture { mut tree, scratch: _scratch, .. } = tree(1 << 20, 4);
    write(&mut tree, "a", b"new").unwrap();
    write(&mut tree, "b", b"old").unwrap();
    tree.rename((ROOT, "a"), (ROOT, "b")).unwrap();
    assert_eq!(tree.next_entry(ROOT, None), Ok(Some(("b".to_owned(), 1))));
    assert_eq!(tree.next_entry(ROOT, Some("b")), Ok(None));
    tree.create_directory(ROOT, "d").unwrap();
    assert_eq!(tree.rename((ROOT, "b"), (ROOT, "d")), Err(TreeError::IsDirectory));
    assert_eq!(tree.rename((ROOT, "d"), (ROOT, "d/e")), Err(TreeError::Invalid));
    tree.rename((ROOT, "b"), (ROOT, "d/b")).unwrap();
    assert_eq!(tree.remove_directory(ROOT, "d"), Err(TreeError::NotEmpty));
}

#[test]
fn no_directory_lies_deeper_than_the_host_would_like() {
    let Fixture { mut tree, scratch: _scratch, .. } = tree(1 << 30, 1_000);
    let deep = (0..path::MAX_DEPTH).map(|i| i.to_string()).collect::<Vec<_>>();
    for depth in 1..=path::MAX_DEPTH {
        tree.create_directory(ROOT, &deep[..depth].join("/")).unwrap();
    }
    assert_eq!(tree.create_directory(ROOT, &format!("{}/x", deep.join("/"))), Err(TreeError::NameTooLong));
    tree.create_directory(ROOT, "other").unwrap();
    assert_eq!(tree.rename((ROOT, "0"), (ROOT, "other/0")), Err(TreeError::NameTooLong));
}

#[derive(Debug, Clone)]
enum Step {
    Write(String, usize),
    Directory(String),
    Unlink(String),
    RemoveDirectory(String),
    Rename(String, String),
    Size(String, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let path = "[ab](/[ab]){0,2}";
    prop_oneof![
        (path, 0usize..9_000).prop_map(|(path, size)| Step::Write(path, size)),
        path.prop_map(Step::Directory),
        path.prop_map(Step::Unlink),
        path.prop_map(Step::RemoveDirectory),
        (path, path).prop_map(|(from, to)| Step::Rename(from, to)),
        (path, 0u64..20_000).prop_map(|(path, size)| Step::Size(path, size)),
    ]
}

proptest! {
    /// Whatever is done, the count equals what a walk over the published tree finds.
    #[test]
    fn the_quota_counts_what_is_there(steps in prop::collection::vec(step(), 0..40)) {
        let Fixture { mut tree, scratch, target } = tree(40_000, 6);
        for step in steps {
            let _ = match step {
                Step::Write(path, size) => write(&mut tree, &path, &vec![7; size]),
                Step::Directory(path) => tree.create_directory(ROOT, &path),
                Step::Unlink(path) => tree.unlink(ROOT, &path),
                Step::RemoveDirectory(path) => tree.remove_directory(ROOT, &path),
                Step::Rename(from, to) => tree.rename((ROOT, &from), (ROOT, &to)),
                Step::Size(path, size) => tree.lookup(ROOT, &path).and_then(|id| tree.set_size(id, size)),
            };
        }
        tree.publish(&Dir::open_ambient_dir(target.path(), ambient_authority()).unwrap()).unwrap();
        let (mut bytes, mut entries, mut waiting) = (0, 0, vec![target.path().to_owned()]);
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                entries += 1;
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    bytes += ENTRY_COST;
                    waiting.push(entry.path());
                } else {
                    bytes += metadata.len().max(ENTRY_COST);
                }
            }
        }
        prop_assert_eq!(tree.quota.used(), (bytes, entries));
        prop_assert!(bytes <= 40_000 && entries <= 6);
        prop_assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
