//! The id that a results tree has, whoever uses it, and whatever it is called.

use super::STORE;
use crate::job::JobId;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// The id of the tree at `root`, which is given one if it has none. It is on disk when this returns.
pub(super) fn identify(root: &Path) -> io::Result<JobId> {
    let path = root.join(STORE);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        read => return parse(&read?),
    }
    let mut file = tempfile_in(root)?;
    writeln!(file.1, "{}", JobId::new())?;
    file.1.sync_all()?;
    // Of several processes that come at once, the first one's id stays: a link does not replace what is there.
    let linked = fs::hard_link(&file.0, &path);
    fs::remove_file(&file.0)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => fs::File::open(root)?.sync_all()?,
    }
    parse(&fs::read_to_string(&path)?)
}

fn tempfile_in(root: &Path) -> io::Result<(std::path::PathBuf, fs::File)> {
    let path = root.join(format!("{STORE}.{}", JobId::new().hex()));
    Ok((path.clone(), fs::File::create_new(&path)?))
}

fn parse(text: &str) -> io::Result<JobId> {
    text.trim().parse().map_err(|_| {
        io::Error::new(ErrorKind::InvalidData, format!("{STORE} holds no id; delete it, and this tree gets a new one"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_one_id_however_many_open_it_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let ids: Vec<_> = std::thread::scope(|scope| {
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| identify(directory.path()).unwrap())).collect();
            openers.into_iter().map(|opener| opener.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left there");
        fs::write(directory.path().join(STORE), "x").unwrap();
        assert!(identify(directory.path()).unwrap_err().to_string().contains("delete it"));
    }
}
