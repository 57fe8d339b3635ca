use super::*;
use crate::job::LimitName;
use cap_std::ambient_authority;
use proptest::prelude::*;

struct Fixture {
    tree: Tree,
    scratch: tempfile::TempDir,
    target: tempfile::TempDir,
}

fn tree(bytes: u64, entries: u32) -> Fixture {
    let (scratch, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = Dir::open_ambient_dir(scratch.path(), ambient_authority()).unwrap();
    Fixture { tree: Tree::new(Arc::new(dir), Quota::new(bytes, entries)), scratch, target }
}

fn write(tree: &mut Tree, path: &str, bytes: &[u8]) -> Result<(), TreeError> {
    let id = tree.lookup(ROOT, path).or_else(|_| tree.create_file(ROOT, path))?;
    tree.retain(id)?;
    let written = tree.write(id, bytes, 0);
    tree.release(id);
    written
}

#[test]
fn what_was_written_is_published_under_its_name() {
    let Fixture { mut tree, scratch, target } = tree(1 << 20, 10);
    tree.create_directory(ROOT, "a").unwrap();
    write(&mut tree, "a/b.txt", b"hello").unwrap();
    write(&mut tree, "empty", b"").unwrap();
    tree.publish(&Dir::open_ambient_dir(target.path(), ambient_authority()).unwrap()).unwrap();
    assert_eq!(std::fs::read(target.path().join("a/b.txt")).unwrap(), b"hello");
    assert_eq!(std::fs::read(target.path().join("empty")).unwrap(), b"");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
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
    assert_eq!(tree.list(ROOT).unwrap(), [("b".to_owned(), false)]);
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
