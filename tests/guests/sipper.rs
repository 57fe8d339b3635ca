//! Reads its input in sips of odd sizes, and says how much came with each, what it was and what the clock says then.

use std::io::{self, Read};
use std::time::{Instant, SystemTime};

const SIPS: [usize; 7] = [1, 7, 4095, 8192, 8193, 65_537, 100_003];

fn main() -> io::Result<()> {
    let start = Instant::now();
    let mut stdin = io::stdin().lock();
    let (mut sips, mut total, mut hash) = (Vec::new(), 0, 0xcbf2_9ce4_8422_2325_u64);
    for size in SIPS.iter().cycle() {
        let mut buffer = vec![0; *size];
        let length = stdin.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        sips.push(length);
        total += length;
        // FNV-1a.
        hash = buffer[..length].iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
    println!(
        "{{\"sips\": {sips:?}, \"bytes\": {total}, \"hash\": \"{hash:x}\", \"now\": \"{}\", \"took\": \"{}\"}}",
        now.as_nanos(),
        start.elapsed().as_nanos(),
    );
    Ok(())
}
